"""A session that also submits: what ``Connection``, ``JobGroup`` and the pipelines of programs share."""

from __future__ import annotations

import logging
from functools import partial
from typing import Final

import anyio

from .._http.transport import Transport
from .._jobs.session import Session
from .._protocol.blackbird_template import Params, bound
from .._protocol.targets import resolved
from .._util.aio import in_thread
from ..config import Settings
from ..models import Device
from .programs import ProgramLike, is_compilable, program_text
from .strawberryfields import compiled_text, needs_compiling
from .submitter import SubmissionRequest, Submitter

MAX_PRIORITY: Final = 100
_log = logging.getLogger("sfjobs")


class SubmissionSession(Session):
    """The session of one connection, with its submitter and the devices that programs were compiled for."""

    def __init__(self, settings: Settings, transport: Transport) -> None:
        super().__init__(settings, transport)
        self.submitter = Submitter(settings, transport, self.journal)
        self._compiling = anyio.Lock()
        self._compiled_for: dict[str, Device] = {}
        self._offers_priorities: bool | None = None

    async def prepare(
        self,
        target: str,
        program: ProgramLike,
        shots: int | None,
        name: str | None,
        params: Params | None = None,
        *,
        priority: int | None = None,
    ) -> SubmissionRequest:
        """Return the request that submits ``program``. Raises ValueError for a priority, and what ``program_text`` raises."""
        target = resolved(target)
        text = await self.program_text(target, program, shots, params)
        if priority is not None and not await self._has_priorities(priority):
            priority = None
        return self.submitter.request(target, text, shots, name, priority)

    async def _has_priorities(self, priority: object) -> bool:
        """Return whether the platform offers priorities; it is asked once. Raises ValueError for a priority that cannot be."""
        if isinstance(priority, bool) or not isinstance(priority, int) or not -MAX_PRIORITY <= priority <= MAX_PRIORITY:
            raise ValueError(f"a priority is a whole number from -{MAX_PRIORITY} to {MAX_PRIORITY}, not {priority!r}")
        if self._offers_priorities is None:
            self._offers_priorities = await self.api.offers("priority")
            if not self._offers_priorities:
                _log.warning("this platform has no priorities: jobs are submitted without")
        return self._offers_priorities

    async def program_text(
        self, target: str, program: ProgramLike, shots: int | None, params: Params | None = None
    ) -> str:
        """Return the Blackbird text of ``program``, as ``Connection.program_text`` describes it."""
        if isinstance(program, str) or not is_compilable(program):
            return bound(program_text(program), params)
        target = resolved(target)
        async with self._compiling:
            device = await self._device_to_compile_for(target) if needs_compiling(program, target) else None
            compiled = partial(compiled_text, program, target=target, device=device, shots=shots, params=params)
            return bound(await in_thread(compiled), None)

    async def _device_to_compile_for(self, target: str) -> Device:
        device = self._compiled_for.get(target)
        if device is None:
            specification = await self.api.specification(target, is_strict=True)
            certificate = await self.api.certificate(target)
            device = Device(target=target, specification=specification, certificate=certificate)
            self._compiled_for[target] = device
        return device
