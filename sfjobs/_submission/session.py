"""A session that also submits: what ``Connection``, ``JobGroup`` and the pipelines of programs share."""

from __future__ import annotations

from functools import partial

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


class SubmissionSession(Session):
    """The session of one connection, with its submitter and the devices that programs were compiled for."""

    def __init__(self, settings: Settings, transport: Transport) -> None:
        super().__init__(settings, transport)
        self.submitter = Submitter(settings, transport, self.journal)
        self._compiling = anyio.Lock()
        self._compiled_for: dict[str, Device] = {}

    async def prepare(
        self, target: str, program: ProgramLike, shots: int | None, name: str | None, params: Params | None = None
    ) -> SubmissionRequest:
        """Return the request that submits ``program``. Raises what ``program_text`` raises."""
        target = resolved(target)
        text = await self.program_text(target, program, shots, params)
        return self.submitter.request(target, text, shots, name)

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
