"""
A job: a cheap handle with what was last heard of it. It is made from an id alone, asks the platform only when told to, and
its waiting goes through the connection's shared poller.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

import anyio

from .._http import tracing
from .._http.api import PlatformAPI
from .._tracking.outages import retry_until_available
from .._tracking.poller import Poller
from .._tracking.types import in_words
from ..errors import ConflictError, SFJobsError
from ..models import Cursor, JobOutlook, JobSnapshot, JobStatus, JSONValue
from .job_errors import result_unavailable_error, too_late_to_cancel, unsuccessful, wait_timeout_error
from .outlook import build_outlook, time_here

if TYPE_CHECKING:
    from ..results import Result
    from ..results.download.fetcher import Into

logger = logging.getLogger("sfjobs")

T = TypeVar("T")


class Asker(Protocol):
    """What a job needs of its connection."""

    @property
    def api(self) -> PlatformAPI: ...

    @property
    def poller(self) -> Poller: ...


class Job:
    """
    One job on the platform. Two handles for the same id are independent views of it, equal and with the same hash.

    Only ``refresh``, ``cancel``, ``wait``, ``fetch_result`` and ``await job`` talk to the platform; everything else reads
    what they last brought. A final status is never taken back.
    """

    __slots__ = ("__weakref__", "_connection", "_result", "_snapshot", "asked_at", "cursor", "first_seen", "trouble")

    def __init__(
        self,
        id_: str,
        status: JobStatus | str,
        connection: Asker,
        meta: Mapping[str, JSONValue] | None = None,
    ) -> None:
        self._snapshot = JobSnapshot(id=id_, status=JobStatus(status), meta=meta or {})
        self._connection = connection
        self._result: Result | None = None
        self.first_seen: float | None = None
        self.asked_at: float | None = None
        self.cursor: Cursor | None = None
        self.trouble: str | None = None

    @classmethod
    def of(cls, snapshot: JobSnapshot, connection: Asker) -> Job:
        """The handle for a job that the platform has just told about."""
        job = cls(snapshot.id, snapshot.status, connection)
        job.take(snapshot, anyio.current_time())
        job.cursor = snapshot.cursor
        return job

    @property
    def id(self) -> str:
        return self._snapshot.id

    @property
    def status(self) -> JobStatus:
        """The status last heard of."""
        return self._snapshot.status

    @property
    def snapshot(self) -> JobSnapshot:
        """All that was last heard of the job, as one frozen value."""
        return self._snapshot

    @property
    def meta(self) -> Mapping[str, JSONValue]:
        """What else the platform says, such as the reason of a failure."""
        return self._snapshot.meta

    @property
    def name(self) -> str | None:
        return self._snapshot.name

    @property
    def target(self) -> str | None:
        return self._snapshot.target

    @property
    def created_at(self) -> datetime | None:
        return self._snapshot.created_at

    @property
    def started_at(self) -> datetime | None:
        """When the job began to run; None while it waits in the queue."""
        return self._snapshot.started_at

    @property
    def finished_at(self) -> datetime | None:
        return self._snapshot.finished_at

    @property
    def running_time(self) -> float | None:
        """Seconds on the device, once known."""
        return self._snapshot.running_time

    @property
    def connection(self) -> Asker:
        return self._connection

    @property
    def result(self) -> Result:
        """
        The result, once ``wait``, ``refresh``, ``fetch_result`` or ``finish`` has brought it.

        Raises ResultUnavailableError, which names the present status, before that.
        """
        if self._result is None:
            raise result_unavailable_error(self._snapshot)
        return self._result

    @property
    def has_result(self) -> bool:
        """Whether ``result`` is at hand."""
        return self._result is not None

    async def refresh(self) -> None:
        """
        Takes over the present status and metadata and, when the job has newly completed, its result.

        On a job that has ended, logs a warning and returns.
        """
        if self.status.is_final:
            logger.warning("job %s is %s already: nothing to refresh", self.id, self.status.value)
            return
        await self._ask()
        if self.status == JobStatus.COMPLETED:
            await self.fetch_result()

    async def cancel(self, *, wait: bool = False, timeout: float | None = None) -> JobStatus:
        """
        Asks the platform to cancel the job and takes over its answer, ``cancel_pending`` or ``cancelled``.

        With ``wait``, returns the final word, which may be ``complete`` when the job was faster, and raises nothing because of
        weather, as ``wait`` does not; WaitTimeoutError after ``timeout`` seconds. Raises InvalidJobOperationError for a job that
        is known to have ended and, without ``wait``, for one that turns out to have.
        """
        if self.status.is_final:
            raise too_late_to_cancel(self._snapshot)
        if wait:
            with anyio.move_on_after(timeout):
                await self.request_cancel(insists=True)
                return await self.wait(fetch_result=False)
            raise wait_timeout_error(self._snapshot, timeout, self.trouble)
        if (too_late := await self.request_cancel()) is not None:
            raise too_late_to_cancel(self._snapshot) from too_late
        if self.status == JobStatus.CANCEL_PENDING:
            await self._ask_whether_cancelled()
        return self.status

    async def request_cancel(self, *, insists: bool = False) -> ConflictError | None:
        """
        Sends the cancellation, in any weather if it ``insists``, and takes over what came of it; the platform's refusal where
        the job had ended by itself. For ``cancel`` and ``cancel_all``.
        """
        if insists:
            try:
                return await self._outlast(self.request_cancel)
            except ConflictError as error:
                return error  # it has ended, which an answer that lags behind does not show yet
        try:
            await self._connection.api.cancel(self.id)
        except ConflictError as error:
            await self._ask()
            # A try before this one may have been the cancellation, and only its answer was lost.
            is_ours = self.status == JobStatus.CANCELLED and error.attempts > 1
            if is_ours or self.status == JobStatus.CANCEL_PENDING:
                return None
            if self.status.is_final:
                return error
            raise
        if not self.status.is_final:
            self._snapshot = replace(self._snapshot, status=JobStatus.CANCEL_PENDING)
        return None

    async def _ask_whether_cancelled(self) -> None:
        try:
            await self._ask()
        except SFJobsError as error:
            if not error.retryable:
                raise
            logger.info("job %s: its cancellation was taken, what came of it is not known: %s", self.id, error)

    def why(self) -> JobOutlook:
        """Why this job is not done yet, as far as is known here and now. Asks nobody, and works while others wait for it."""
        now = time_here()
        return build_outlook(
            self.snapshot,
            self._connection.poller.outlook(self.id),
            None if now is None else self._connection.api.rate_limit,
            now,
            first_seen=self.first_seen,
            asked_at=self.asked_at,
            trouble=self.trouble,
        )

    async def wait(self, timeout: float | None = None, *, fetch_result: bool = True) -> JobStatus:
        """
        Waits until the job has ended and, when it completed, its result is at hand; returns the final status.

        Never raises for a failed or cancelled job, nor because the platform cannot be reached or is in trouble: that is waited
        out, however long it lasts, and ``why`` and the log tell of it. Raises WaitTimeoutError after ``timeout`` seconds; the job
        goes on. Raises what the platform says of the job for good, such as NotFoundError, and AuthenticationError. With
        ``fetch_result=False`` the result is left on the platform.
        """
        with tracing.span("wait", job_id=self.id, target=self.target) as span:
            try:
                return await self._wait(timeout, fetch_result)
            finally:
                span.note(status=self.status.value)

    async def _wait(self, timeout: float | None, fetch_result: bool) -> JobStatus:
        with anyio.move_on_after(timeout) as scope:
            await self._settle()
            if fetch_result and self.status == JobStatus.COMPLETED:
                await self.bring_result()
        if scope.cancelled_caught:
            raise wait_timeout_error(self._snapshot, timeout, self.trouble)
        return self.status

    async def bring_result(self) -> None:
        """``fetch_result`` in any weather, for those that wait."""
        await self._outlast(self.fetch_result)
        self.trouble = None

    async def fetch_result(self, *, into: Into | None = None, mmap: bool = False) -> Result:
        """
        The result, fetched now unless it is at hand.

        ``into`` an array, of exactly the type and the shape of the samples, they are received straight into it; what does not
        fit is a ValueError before anything is written. After any other error it holds neither its old values nor the samples,
        and a note of the error says so. ``into`` a path that ends in ``.npz`` or ``.npy``, the platform's file is written
        there, whole and checked, or not at all. With ``mmap`` the samples stay in that file, or without ``into`` in a
        temporary one that lives as long as they are used, and are a read-only ``numpy.memmap`` of any size. With either, the
        result is fetched even if it is at hand.

        Raises ResultUnavailableError when the job has not completed, ResultError or one of its kinds for a body that is not a
        result, and OSError when the disk does not take it.
        """
        if self._result is not None and into is None and not mmap:
            return self._result
        if not self.status.is_final:
            await self._ask()
        self.require_result()
        with tracing.span("result", requests=True, job_id=self.id, target=self.target, status=self.status.value):
            self._result = await self._connection.api.result(self.id, into=into, mmap=mmap)
        return self._result

    def require_result(self) -> None:
        """Raises ResultUnavailableError, which names the present status, unless the job has completed."""
        if self.status != JobStatus.COMPLETED:
            raise result_unavailable_error(self._snapshot)

    def __await__(self) -> Generator[object, object, Result]:
        return self.finish().__await__()

    async def finish(self) -> Result:
        """
        Waits for the result and returns it.

        Raises FailedJobError or CancelledJobError, with the platform's reason, when the job ends without one. ``await job``
        is short for this.
        """
        status = await self.wait()
        if status == JobStatus.COMPLETED:
            return self.result
        self.raise_for_status()
        raise AssertionError("a wait ended before the job did")  # pragma: no cover - is_final and the three words agree

    def raise_for_status(self) -> None:
        """Raises FailedJobError or CancelledJobError, with the platform's reason, when the job ended that way."""
        if (error := unsuccessful(self._snapshot)) is not None:
            raise error

    def take(self, snapshot: JobSnapshot, at: float) -> None:
        """Takes over what the platform said ``at`` this time, unless the job is known to be further. For the poller's use."""
        self.asked_at = at
        self.trouble = None
        if self.first_seen is None:
            self.first_seen = self.asked_at
        if snapshot is self._snapshot or snapshot.is_behind(self._snapshot):
            return
        if snapshot.status != self._snapshot.status:
            logger.info("job %s: %s -> %s", self.id, self.status.value, snapshot.status.value)
        self._snapshot = snapshot

    async def _ask(self) -> None:
        try:
            snapshot = await self._connection.api.job(self.id)
        except SFJobsError as error:
            self.trouble = in_words(error)
            raise
        self.take(snapshot, anyio.current_time())
        self.cursor = snapshot.cursor
        self._connection.poller.learn(snapshot)

    async def _settle(self) -> None:
        poller = self._connection.poller
        waiter = poller.join([self])
        try:
            outcomes = await poller.wait_for(waiter)
        finally:
            poller.leave(waiter)
        outcome = outcomes[self.id]
        if isinstance(outcome, SFJobsError):
            self.trouble = in_words(outcome)
            raise outcome

    async def _outlast(self, call: Callable[[], Awaitable[T]]) -> T:
        def note(error: SFJobsError) -> None:
            self.trouble = in_words(error)

        return await retry_until_available(call, note, self._connection.poller.interval)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Job):
            return NotImplemented
        return self.id == other.id and self._connection is other._connection

    def __hash__(self) -> int:
        return hash(self.id)

    def _repr_html_(self) -> str:
        from .._util.html import job_html

        return job_html(self.snapshot, None if self._result is None else self._result._repr_html_())

    def __repr__(self) -> str:
        named = f" {self.name!r}" if self.name else ""
        on = f" on {self.target}" if self.target else ""
        return f"<Job{named}: {self.id}{on}, {self.status.value}>"
