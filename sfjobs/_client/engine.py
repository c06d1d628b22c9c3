"""
``RemoteEngine``: one target of one platform, with ``run`` and ``run_async`` as in the reference design.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .._jobs.job import Job
from .._submission.programs import ProgramLike
from .._util.aio import Closeable
from ..models import Device
from .connection import Connection

if TYPE_CHECKING:
    from ..results import Result

logger = logging.getLogger("sfjobs")

_ALIASES = {"X8": "X8_01", "X12": "X12_02"}


class RemoteEngine(Closeable):
    """
    Runs programs on one target, such as ``"simulon_gaussian"`` or ``"X8_01"`` (``"X8"`` and ``"X12"`` are short for the
    latest device of the kind). Without a ``connection`` it opens one by the settings, which ``aclose`` closes again.
    """

    def __init__(self, target: str, connection: Connection | None = None) -> None:
        self._target = _ALIASES.get(target, target)
        self._connection = Connection() if connection is None else connection
        self._is_own = connection is None
        self._device: Device | None = None

    @property
    def target(self) -> str:
        return self._target

    @property
    def connection(self) -> Connection:
        return self._connection

    async def device(self) -> Device:
        """The target with its specification and certificate, asked for once."""
        if self._device is None:
            self._device = await self._connection.get_device(self._target)
        return self._device

    async def run(
        self, program: ProgramLike, *, shots: int | None = None, name: str | None = None, timeout: float | None = None
    ) -> Result:
        """
        Submits ``program`` and waits, up to ``timeout`` seconds, for its result.

        Raises FailedJobError, CancelledJobError,
        and WaitTimeoutError, whose ``job_id`` finds the job again: it goes on, as it does when the waiting is cancelled.
        """
        job = await self.run_async(program, shots=shots, name=name)
        finished = False
        try:
            await job.wait(timeout=timeout)
            finished = True
        finally:
            if not finished:
                logger.info("job %s goes on without being waited for", job.id)
        job.raise_for_status()
        return job.result

    async def run_async(self, program: ProgramLike, *, shots: int | None = None, name: str | None = None) -> Job:
        """Submits ``program`` and returns its job at once."""
        return await self._connection.create_job(self._target, program, shots=shots, name=name)

    async def aclose(self) -> None:
        """Closes the connection that the engine has opened for itself; one that it was given stays open."""
        if self._is_own:
            await self._connection.aclose()

    def __repr__(self) -> str:
        return f"<RemoteEngine: {self._target} at {self._connection.settings.url}>"
