"""``Connection``: the public face of one session with a platform."""

from __future__ import annotations

import sys
import warnings
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal, Self

from .._http.api import MAX_PAGE_SIZE
from .._http.download import Downloading
from .._http.transport import HTTPTransport, Transport
from .._jobs.events import Events
from .._jobs.job import Job, job_from
from .._protocol.blackbird_template import Params
from .._protocol.targets import resolved
from .._submission.pipeline import SubmissionPipeline
from .._submission.programs import ProgramLike
from .._submission.recovery import Recovery, recover
from .._submission.session import SubmissionSession
from .._submission.stream import JobStream
from .._submission.types import Programs
from .._util.aio import Closeable
from ..config import Secret, Settings
from ..models import Device, JobSnapshot, JobStatus

if TYPE_CHECKING:
    from ..results import Result, ResultStream


class Connection(Closeable):
    """
    A connection to one platform.

        async with sfjobs.Connection("http://127.0.0.1:8080", api_key=key) as connection:
            job = await connection.create_job("simulon_gaussian", program, shots=100)
            result = await job

    Each setting comes from the arguments, then from ``SFJOBS_*`` in the environment, then from ``profile`` in the configuration
    file; ``settings`` replaces all of them. No socket is opened before the first request. A connection belongs to the event
    loop that uses it first, and may be entered and left in different tasks.

    ``transport`` is any transport of httpx, which the connection closes in the end. The default is ``DirectTransport``, and
    httpx's own where the setting ``http`` or a proxy says so, or while a test or an instrumentation has patched httpx.

    Raises:
        ConfigurationError: a setting is missing or malformed.
    """

    __module__ = "sfjobs"
    _instead = "open one in each process, with the settings of the environment or of a file"

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | Secret | None = None,
        access_token: str | Secret | None = None,
        api_version: Literal["0.4.0", "0.2.0"] | None = None,
        profile: str | None = None,
        settings: Settings | None = None,
        transport: HTTPTransport | None = None,
    ) -> None:
        # Wrapped first: a frame with the plain text would show it in a traceback.
        api_key, access_token = Secret.wrap(api_key), Secret.wrap(access_token)
        if settings is None:
            settings = Settings.load(
                profile, url=url, api_key=api_key, access_token=access_token, api_version=api_version
            )
        # Jobs and groups work with it. It has no reference to the connection, whose finalizer warns of one left open.
        self._session = SubmissionSession(settings, Transport(settings, transport=transport))

    @property
    def settings(self) -> Settings:
        """The settings that the connection was opened with."""
        return self._session.settings

    async def __aenter__(self) -> Self:
        self._session.transport.check_usable()
        return await super().__aenter__()

    async def aclose(self) -> None:
        """
        Close the connection.

        Waiters get ConnectionClosedError; the jobs go on. Closing twice is safe.
        """
        await self._session.aclose()

    async def ping(self) -> bool:
        """
        Return True when the platform responds and accepts the credentials.

        Raises:
            TransportError: the platform cannot be reached.
            AuthenticationError: the platform refuses the API key or the access token.
        """
        await self._session.api.ping()
        return True

    async def create_job(
        self,
        target: str,
        program: ProgramLike,
        *,
        shots: int | None = None,
        name: str | None = None,
        params: Params | None = None,
        priority: int | None = None,
    ) -> Job:
        """
        Submit ``program`` to run on ``target``, and return its job.

        ``X8``, ``X12`` and ``simulon`` are short for the latest target of the kind. ``shots`` is the number of samples; the
        default is in the program's header. ``name`` serves to find the job again.
        ``params`` has a number for each free parameter of the program, ``{name}`` in its text. ``priority``, from -100 to 100
        and 0 unless given, orders the waiting jobs of this account: a higher one runs earlier. A platform without priorities
        ignores it, which is logged once.

        Raises:
            InvalidRequestError: the program does not parse.
            ConflictError: the program does not suit the target.
            SubmissionUnknownError: the connection broke before the response; ``recover`` finds out whether there is a job.
            JournalError: the submission cannot be written into the journal, so it was not sent.

        It also raises what ``program_text`` raises.
        """
        request = await self._session.prepare(target, program, shots, name, params, priority=priority)
        return self._job(await self._session.submitter.submit(request))

    async def recover(self, *, give_up: bool = False, adopt: Mapping[str, str] | None = None) -> Recovery:
        """
        Settle the submissions in the journal that were sent and have no response, of any process.

        A connection broke, or a process ended, before the response. Where the platform honours idempotency keys, each is sent
        again with its key: the response has its job, or the job is made now. Elsewhere it stays unknown, with the jobs of the
        same target, name and program as its ``candidates``: another machine may have submitted them, so none is taken, and
        nothing is sent again automatically. ``adopt={key: job_id}`` says which job is its own. With ``give_up``, later calls
        skip the unknown ones. Submissions that a running process is sending are left alone. Submissions with an
        earlier API key are settled, too, when the platform shows the latest job of that key to this one.

        Raises:
            ValueError: a job of ``adopt`` has another target, name or program than its submission, or belongs to another one; or
                no submission without a response has that key. Nothing was changed.
            NotFoundError: the platform has no such job.
            TransportError: the platform cannot be reached.
            JournalError: the journal cannot be used.
        """
        session = self._session
        return await recover(session.journal, session.submitter, session.api, give_up=give_up, adopt=adopt)

    def create_jobs(
        self,
        target: str,
        programs: Programs,
        *,
        shots: int | None = None,
        window: int = 100,
        params: Params | None = None,
        priority: int | None = None,
    ) -> JobStream:
        """
        Submit many programs, and iterate over their jobs in the order of the programs.

        ``programs`` is an iterable or an async iterable of any length. Its items are programs, or ``Submission`` objects where
        one has options of its own. At most ``window`` jobs are unfinished at a time, and at most so many programs are read
        ahead. Where the platform accepts batches, one request has up to a hundred programs.

        For a refused program the iteration returns a ``Refusal`` in the place of a job, and continues. A 429 response, also
        for a quota, halves the window, which widens again later; the program is submitted again.

        The iteration may be abandoned or cancelled at any step: jobs that the platform has accepted by then come with the next
        step, and are in ``submitted``. An async generator that is cancelled while it makes a program has ended.

        Raises:
            ValueError: ``window`` is below 1.
            AuthenticationError, TransportError: every program would fail; the next step continues with the same program.
        """
        pipeline = SubmissionPipeline(self._session, self._job, target, shots, window, params=params, priority=priority)
        return JobStream(pipeline, programs)

    async def program_text(
        self, target: str, program: ProgramLike, *, shots: int | None = None, params: Params | None = None
    ) -> str:
        """
        Return the Blackbird text that ``create_job`` submits.

        A ``strawberryfields.Program`` is compiled for ``target`` in a worker thread, one at a time, by the first compiler in the
        device's specification, which is requested once for each connection. A program that was compiled for this device is
        not compiled again.

        Raises:
            ValueError: the program does not compile for the target (with the compiler's message), has no number of shots,
                or has other free parameters than ``params``.
            NotFoundError: the platform has no such target.
        """
        return await self._session.program_text(target, program, shots, params)

    async def get_job(self, job_id: str) -> Job:
        """
        Return the job with this id.

        Raises:
            NotFoundError: the platform does not know the job.
        """
        return self._job(await self._session.api.job(job_id))

    def events(self, jobs: Iterable[Job], timeout: float | None = None) -> Events:
        """
        Iterate over the changes of these jobs, until all have ended.

            async for event in connection.events(jobs):
                print(event.job.id, event.new)

        There is a ``JobEvent`` for each change of a job's status, and when a job begins to run. Several changes of a job between
        two steps are one event, so that a slow consumer delays no other waiter. ``timeout`` (seconds) counts from the first
        step. The iteration may be abandoned at any step; the jobs go on.

        Raises:
            ValueError: a job belongs to another connection.
            WaitTimeoutError: a job has not ended after ``timeout`` seconds.
        """
        return Events(self._session.poller, jobs, timeout)

    async def list_jobs(
        self,
        *,
        ids: Iterable[str] | None = None,
        status: JobStatus | str | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[Job]:
        """
        Iterate over the jobs, newest first; pages are requested as they are consumed.

        At most ``limit`` jobs; with ``ids`` only these jobs (none for an empty ``ids``), with ``status`` only jobs with this
        status. A platform without paging lists its newest 100 jobs.
        """
        status = None if status is None else JobStatus(status)
        left = sys.maxsize if limit is None else limit
        if left <= 0:
            return
        batches: list[list[str]] = [[]]
        if ids is not None:
            # An empty filter must never reach the wire, where it would mean "all".
            wanted = list(dict.fromkeys(ids))
            batches = [wanted[start : start + MAX_PAGE_SIZE] for start in range(0, len(wanted), MAX_PAGE_SIZE)]
        for batch in batches:
            size = len(batch) or min(left, MAX_PAGE_SIZE)
            async with aclosing(self._session.api.job_pages(ids=batch, status=status, size=size)) as pages:
                async for snapshots in pages:
                    for snapshot in snapshots[:left]:
                        yield self._job(snapshot)
                    left -= len(snapshots)
                    if left <= 0:
                        return

    async def cancel_job(self, job_id: str) -> JobStatus:
        """
        Cancel the job with this id, and return its status, ``cancel_pending`` or ``cancelled``.

        Raises:
            InvalidJobOperationError: the job has ended.
            NotFoundError: the platform does not know the job.
        """
        return await Job(job_id, JobStatus.OPEN, self).cancel()

    async def delete_job(self, job_id: str) -> None:
        """
        Delete the job with this id, its program and its result, for good. The job must have ended.

        Raises:
            InvalidJobOperationError: the job has not ended, or the platform does not offer deletion; then nothing was sent.
            NotFoundError: the platform does not know the job.
        """
        await Job(job_id, JobStatus.OPEN, self).delete()

    async def get_job_result(self, job_id: str) -> Result:
        """
        Return the result of a completed job.

        Raises:
            ResultUnavailableError: the job has not completed.
            NotFoundError: the platform does not know the job.
        """
        return await (await self.get_job(job_id)).fetch_result()

    def open_result(self, job_id: str) -> ResultStream:
        """
        Open the result of a completed job as a stream: in chunks, into memory or into a file.

            async with connection.open_result(job_id) as stream:
                await stream.save("result.npz")

        The requests are sent on entering the block.

        Raises:
            ResultUnavailableError: the job has not completed.
            NotFoundError: the platform does not know the job.
        """
        from ..results import ResultStream

        return ResultStream(job_id, partial(self._begin_result, job_id), self.settings.max_result_bytes)

    async def _begin_result(self, job_id: str) -> Downloading:
        (await self.get_job(job_id)).require_result()
        return self._session.results.open(job_id)

    async def get_job_circuit(self, job_id: str) -> str:
        """Return the program of a job, exactly as it was submitted."""
        return await self._session.api.circuit(job_id)

    async def list_devices(self) -> list[Device]:
        """Return the platform's devices, without specifications and certificates."""
        return await self._session.api.devices()

    async def get_device(self, target: str) -> Device:
        """
        Return a device with its availability, its specification and its certificate.

        The certificate is None where the device has none. Version 0.2.0 of the protocol has only specifications.

        Raises:
            NotFoundError: the platform has no such target.
        """
        target, api = resolved(target), self._session.api
        specification = await api.specification(target)
        if self.settings.api_version == "0.2.0":
            return Device(target=target, specification=specification)
        device = await api.device(target)
        return replace(device, specification=specification, certificate=await api.certificate(target))

    def _job(self, snapshot: JobSnapshot) -> Job:
        return job_from(snapshot, self)

    def __del__(self) -> None:
        session: SubmissionSession | None = getattr(self, "_session", None)  # None when the settings were refused
        # At the interpreter's exit everything is closed, and a warning helps no caller.
        if session is not None and session.transport.is_open and not sys.is_finalizing():
            message = f"unclosed {self!r}: use it in a `with` block, or close it"
            warnings.warn(message, ResourceWarning, stacklevel=2, source=self)

    def __repr__(self) -> str:
        return f"<Connection: {self.settings.url}>"


def internals(connection: Connection) -> SubmissionSession:
    """Return what the connection is made of: the way in for the rest of sfjobs, and for its tests."""
    return connection._session  # noqa: SLF001 - the one accessor
