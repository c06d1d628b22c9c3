"""The handle of one job. It is made from an id alone; ``job_state`` has its state, and does the requests."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

import anyio

from .._http import tracing
from .._util import pydantic_schemas
from .._util.handles import Handle
from ..models import JobOutlook, JobSnapshot, JobStatus, JSONValue
from .cancellation import cancel, request_cancel
from .deadline import LAST_POLL_SECONDS, Deadline
from .deletion import delete
from .html import job_html
from .job_errors import result_unavailable_error, too_late_to_cancel_error, unsuccessful_error, wait_timeout_error
from .job_state import JobState
from .portable import as_dict, snapshot_of

if TYPE_CHECKING:
    from .._client.connection import Connection
    from ..results import Result
    from ..results.download.fetcher import Into

logger = logging.getLogger("sfjobs")


class Job(Handle):
    """
    The handle of one job on the platform.

    Only ``refresh``, ``cancel``, ``delete``, ``wait``, ``fetch_result`` and ``finish`` (``await job``) send requests; everything
    else reads the latest snapshot. A final status never changes. Two handles with the same id on one connection are equal, and
    each has a snapshot of its own. A job is copied with its snapshot, and not pickled; ``to_dict`` and ``from_dict`` take it
    into another process.
    """

    __module__ = "sfjobs"
    __slots__ = ("__weakref__", "_connection", "_state")
    _instead = "keep job.id, or job.to_dict() for Job.from_dict(data, connection)"

    def __init__(
        self,
        id_: str,
        status: JobStatus | str,
        connection: Connection,
        meta: Mapping[str, JSONValue] | None = None,
    ) -> None:
        snapshot = JobSnapshot(id=id_, status=JobStatus(status), meta=meta or {})
        self._connection = connection
        self._state = JobState(snapshot, connection._session)  # noqa: SLF001 - see Connection

    @classmethod
    def from_dict(cls, data: Mapping[str, JSONValue], connection: Connection) -> Self:
        """
        Return a handle from what ``to_dict`` returned, in any process. Sends no request.

        Only its ``id`` is required; without a ``status`` the job is ``open`` until ``refresh`` or ``wait``.

        Raises:
            ValueError: it has no id, or the job is of another platform than the connection's.
        """
        snapshot = snapshot_of(data, connection.settings.url)
        job = cls(snapshot.id, snapshot.status, connection)
        job._state.snapshot = snapshot
        return job

    def to_dict(self) -> dict[str, JSONValue]:
        """
        Return the latest snapshot and the url of the platform as plain values, which ``json`` writes.

        Times are texts in ISO 8601. Neither a secret nor the result is in it.
        """
        return as_dict(self.snapshot, self._connection.settings.url, self._state.session.secrets)

    @property
    def id(self) -> str:
        """The id of the job on the platform."""
        return self._state.snapshot.id

    @property
    def status(self) -> JobStatus:
        """The status in the latest snapshot."""
        return self._state.snapshot.status

    @property
    def snapshot(self) -> JobSnapshot:
        """The latest snapshot: all that the platform said of the job, as one frozen value."""
        return self._state.snapshot

    @property
    def meta(self) -> Mapping[str, JSONValue]:
        """The platform's metadata, such as the reason of a failure."""
        return self._state.snapshot.meta

    @property
    def name(self) -> str | None:
        """The name that the job was submitted with."""
        return self._state.snapshot.name

    @property
    def target(self) -> str | None:
        """The target that runs the job."""
        return self._state.snapshot.target

    @property
    def created_at(self) -> datetime | None:
        """Time of the submission, by the platform's clock."""
        return self._state.snapshot.created_at

    @property
    def started_at(self) -> datetime | None:
        """Time when the job began to run; None while it is in the queue."""
        return self._state.snapshot.started_at

    @property
    def finished_at(self) -> datetime | None:
        """Time when the job ended; None before."""
        return self._state.snapshot.finished_at

    @property
    def running_time(self) -> float | None:
        """Seconds on the device; None until the platform reports it."""
        return self._state.snapshot.running_time

    @property
    def connection(self) -> Connection:
        """The connection that the job belongs to."""
        return self._connection

    @property
    def result(self) -> Result:
        """
        The result, once ``wait``, ``refresh``, ``fetch_result`` or ``finish`` has fetched it.

        Raises:
            ResultUnavailableError: it has not been fetched; the message has the status and what to do.
        """
        if self._state.result is None:
            raise result_unavailable_error(self.snapshot)
        return self._state.result

    @property
    def has_result(self) -> bool:
        """Whether ``result`` has been fetched."""
        return self._state.has_result

    async def refresh(self) -> None:
        """
        Update the status and the metadata, and fetch the result when the job has completed.

        Logs a warning and returns when the job has ended already.

        Raises:
            NotFoundError: the platform does not know the job.
        """
        if self.status.is_final:
            logger.warning("job %s is %s already: nothing to refresh", self.id, self.status.value)
            return
        await self._state.poll()
        if self.status == JobStatus.COMPLETED:
            await self.fetch_result()

    async def cancel(self, *, wait: bool = False, timeout: float | None = None) -> JobStatus:
        """
        Cancel the job and return its status, ``cancel_pending`` or ``cancelled``.

        With ``wait``, return the final status, which is ``complete`` or ``failed`` when the job ended before its cancellation;
        network failures, 429 and 5xx responses are then retried until ``timeout`` (seconds).

        Raises:
            InvalidJobOperationError: without ``wait``, the job has ended.
            WaitTimeoutError: it has not ended after ``timeout`` seconds.
        """
        if self.status.is_final:
            if wait:
                return self.status
            raise too_late_to_cancel_error(self._state.quoted)
        if wait:
            with anyio.move_on_after(timeout):
                await request_cancel(self._state, until_available=True)
                return await self.wait(fetch_result=False)
            raise wait_timeout_error(self._state, timeout)
        await cancel(self._state)
        return self.status

    async def delete(self) -> None:
        """
        Delete the job on the platform, with its program and its result, for good. The job must have ended.

        This handle keeps its snapshot and a result that was fetched.

        Raises:
            InvalidJobOperationError: the job has not ended, or the platform does not offer deletion; then nothing was sent.
            NotFoundError: the platform does not know the job.
        """
        await delete(self._state)

    def why(self) -> JobOutlook:
        """
        Return why the job is not done yet, from what is known here.

        Sends no request, and may be called while other tasks wait for the job.
        """
        return self._state.why()

    async def wait(self, timeout: float | None = None, *, fetch_result: bool = True) -> JobStatus:
        """
        Wait until the job has ended, fetch the result of a completed job, and return the final status.

        Failed and cancelled jobs raise nothing. Network failures, 429 and 5xx responses are retried until ``timeout``
        (seconds), which never cancels the job; ``why`` and the log show them. A timeout of 0 polls the job once. With
        ``fetch_result=False`` the result stays on the platform.

        Raises:
            WaitTimeoutError: the job has not ended, or its result has not arrived, after ``timeout`` seconds.
            NotFoundError: the platform does not know the job.
            AuthenticationError: the platform refuses the API key.
            ResultError: the response is not a result.
        """
        with tracing.span("wait", job_id=self.id, target=self.target) as span:
            try:
                deadline = Deadline(timeout)
                with deadline.scope():
                    return await self._wait(fetch_result)
                if await deadline.poll_unpolled([self._state]):
                    with anyio.move_on_after(LAST_POLL_SECONDS):
                        return await self._wait(fetch_result)
                raise wait_timeout_error(self._state, timeout)
            finally:
                span.note(status=self.status.value)

    async def _wait(self, fetch_result: bool) -> JobStatus:
        await self._state.wait_until_final()
        if fetch_result and self.status == JobStatus.COMPLETED:
            await fetch_result_when_available(self)
        return self.status

    async def fetch_result(self, *, into: Into | None = None, mmap: bool = False) -> Result:
        """
        Return the result of a completed job; fetch it unless that was done before.

        With ``into`` or ``mmap`` it is always fetched.

        ``into`` is an array with exactly the dtype and the shape of ``Result.raw``, which is received straight into it, or a path
        that ends in ``.npz`` or ``.npy``, where the platform's file appears whole and checked, or not at all. With ``mmap``
        ``Result.raw`` is a read-only ``numpy.memmap`` of that file, or without ``into`` of a temporary file that exists as long
        as it is used; it may be larger than the memory.

        Raises:
            ResultUnavailableError: the job has not completed.
            ResultError: the response is not a result. An array given as ``into`` holds neither its old values nor the samples
                then, and a note of the error says so.
            ValueError: ``into`` does not fit; nothing was written.
            OSError: the file cannot be written.
        """
        state = self._state
        if state.result is not None and into is None and not mmap:
            return state.result
        if not self.status.is_final:
            await state.poll()
        self.require_result()
        with tracing.span("result", requests=True, job_id=self.id, target=self.target, status=self.status.value):
            state.result = await state.session.results.fetch(self.id, into=into, mmap=mmap)
        return state.result

    def require_result(self) -> None:
        """
        Check that the job has completed.

        Raises:
            ResultUnavailableError: it has not; the message has the status.
        """
        if self.status != JobStatus.COMPLETED:
            raise result_unavailable_error(self.snapshot)

    def __await__(self) -> Generator[object, object, Result]:
        return self.finish().__await__()

    async def finish(self) -> Result:
        """
        Wait for the result and return it.

        ``await job`` does the same.

        Raises:
            FailedJobError: the job failed; the message has the platform's reason.
            CancelledJobError: the job was cancelled.
        """
        await self.wait()
        self.raise_for_status()
        return self.result

    def raise_for_status(self) -> None:
        """
        Check that the job has not failed and was not cancelled.

        Raises:
            FailedJobError: it failed; the message has the platform's reason.
            CancelledJobError: it was cancelled.
        """
        if (error := unsuccessful_error(self._state.quoted)) is not None:
            raise error

    def __copy__(self) -> Self:
        job = type(self).__new__(type(self))
        getattr(job, "__dict__", {}).update(getattr(self, "__dict__", {}))  # of a subclass
        job._connection = self._connection  # noqa: SLF001 - one of this class
        job._state = self._state.copy()  # noqa: SLF001
        return job

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self.__copy__()  # a result may be larger than the memory

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: pydantic_schemas.Handler) -> Any:
        return pydantic_schemas.instances(cls, cls.to_dict)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Job):
            return NotImplemented
        return self.id == other.id and self._connection is other._connection

    def __hash__(self) -> int:
        return hash(self.id)

    def _repr_html_(self) -> str:
        result = self._state.result
        return job_html(self.snapshot, None if result is None else result._repr_html_())

    def __repr__(self) -> str:
        named = f" {self.name!r}" if self.name else ""
        on = f" on {self.target}" if self.target else ""
        return f"<Job{named}: {self.id}{on}, {self.status.value}>"


def state_of(job: Job) -> JobState:
    """Return the state of a handle: the way in for the rest of this package and its callers."""
    return job._state  # noqa: SLF001 - the one accessor


def job_from(snapshot: JobSnapshot, connection: Connection) -> Job:
    """Return a handle for a job that the platform has just reported."""
    job = Job(snapshot.id, snapshot.status, connection)
    state = state_of(job)
    state.apply(snapshot, anyio.current_time())
    state.cursor = snapshot.cursor
    return job


async def fetch_result_when_available(job: Job) -> None:
    """Fetch the result of a completed job. Transient errors are retried without a limit."""
    state = state_of(job)
    await state.retry(job.fetch_result)
    state.trouble = None
