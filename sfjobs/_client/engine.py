"""``RemoteEngine``: one target of one platform, with the methods of ``strawberryfields.RemoteEngine``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .._jobs.job import Job
from .._protocol.blackbird_template import Params
from .._protocol.targets import resolved
from .._submission.programs import ProgramLike, crop_of
from .._util.aio import Closeable
from ..errors import ResultError
from ..models import Device
from .connection import Connection

if TYPE_CHECKING:
    from ..results import Result

logger = logging.getLogger("sfjobs")


class RemoteEngine(Closeable):
    """
    Programs run on one target, such as ``"simulon_gaussian"`` or ``"X8_01"``.

    ``"X8"``, ``"X12"`` and ``"simulon"`` are short for the latest device of the kind. Without ``connection`` the engine opens
    one with the settings of the environment and the configuration file, and ``aclose`` closes it.
    """

    __module__ = "sfjobs"
    _instead = "make one in each process, with a connection of its own"

    def __init__(self, target: str, connection: Connection | None = None) -> None:
        self._target = resolved(target)
        self._connection = Connection() if connection is None else connection
        self._is_own = connection is None
        self._device: Device | None = None

    @property
    def target(self) -> str:
        """The target that runs the programs."""
        return self._target

    @property
    def connection(self) -> Connection:
        """The connection that the engine uses."""
        return self._connection

    async def device(self) -> Device:
        """Return the target's device with specification and certificate; requested once."""
        if self._device is None:
            self._device = await self._connection.get_device(self._target)
        return self._device

    async def run(
        self,
        program: ProgramLike,
        *,
        shots: int | None = None,
        name: str | None = None,
        timeout: float | None = None,
        params: Params | None = None,
        crop: bool = False,
    ) -> Result:
        """
        Submit ``program``, wait for its result, and return it.

        The job goes on when this is cancelled, or after ``timeout`` (seconds). ``crop`` leaves out the time bins at the start of
        each shot of a time-domain program in which the detector sees no pulse yet; ``job.result`` keeps them.

        Raises:
            ValueError: ``crop``, but Strawberry Fields does not know these time bins; nothing was sent.
            ResultError: ``crop``, but neither the program nor the platform knows these time bins; the job is complete.
            FailedJobError: the job failed; the message has the platform's reason.
            CancelledJobError: the job was cancelled.
            WaitTimeoutError: it has not ended after ``timeout`` seconds; ``job_id`` serves to find it again.

        It also raises what ``Connection.create_job`` raises.
        """
        vacuum_bins = crop_of(program) if crop else 0
        job = await self.run_async(program, shots=shots, name=name, params=params)
        try:
            await job.wait(timeout=timeout)
        except BaseException:
            logger.info("job %s goes on; it is not waited for any more", job.id)
            raise
        job.raise_for_status()
        return _cropped(job, vacuum_bins) if crop else job.result

    async def run_async(
        self,
        program: ProgramLike,
        *,
        shots: int | None = None,
        name: str | None = None,
        params: Params | None = None,
    ) -> Job:
        """
        Submit ``program``, and return its job without waiting for its end.

        Raises what ``Connection.create_job`` raises.
        """
        return await self._connection.create_job(self._target, program, shots=shots, name=name, params=params)

    async def aclose(self) -> None:
        """Close the connection that the engine has opened; a given ``connection`` stays open."""
        if self._is_own:
            await self._connection.aclose()

    def __repr__(self) -> str:
        return f"<RemoteEngine: {self._target} at {self._connection.settings.url}>"


def _cropped(job: Job, vacuum_bins: int | None) -> Result:
    """Return the cropped result; the platform says the time bins of a program that is text."""
    from ..results.time_bins import cropped

    bins = job.meta.get("crop") if vacuum_bins is None else vacuum_bins
    if isinstance(bins, int) and not isinstance(bins, bool) and bins >= 0:
        return cropped(job.result, bins)
    if job.result.outputs and job.result.outputs[0].ndim == 3:
        message = (
            f"job {job.id} is complete, but its metadata does not say how many time bins crop=True has to leave out"
        )
        raise ResultError(f"{message}: fetch the result without crop", job_id=job.id)
    return job.result
