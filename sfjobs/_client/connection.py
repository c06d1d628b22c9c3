"""
A connection to one platform: opens, closes, submits, lists and hands out jobs. ``api`` knows the endpoints, ``poller`` does
the waiting; this is where they meet.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal, Self

import anyio
import anyio.to_thread

from .._http.api import LARGEST_PAGE, PlatformAPI
from .._http.download import Downloading
from .._http.transport import HTTPTransport, Transport
from .._jobs.events import Events
from .._jobs.job import Job
from .._journal import JournalSession
from .._submission.pipeline import SubmissionPipeline
from .._submission.programs import ProgramLike, is_compilable, program_text
from .._submission.recovery import Recovery, recover
from .._submission.strawberryfields import compiled_text, needs_compiling
from .._submission.stream import JobStream
from .._submission.submitter import Submitter
from .._submission.types import Programs
from .._tracking.change_feed import ChangeFeed
from .._tracking.poller import Poller
from .._tracking.queries import StatusSources
from .._tracking.types import PollInterval
from .._util.closing import Closeable
from ..config import Secret, Settings, SettingsArguments
from ..errors import NotFoundError
from ..models import Device, JobSnapshot, JobStatus, JSONValue

if TYPE_CHECKING:
    from ..results import Result, ResultStream


class Connection(Closeable):
    """
    A connection to a platform, described by its settings: arguments, then ``SFJOBS_*`` in the environment, then the
    configuration file. Opens no socket before the first request.

        async with sfjobs.Connection("http://127.0.0.1:8080", api_key=key) as connection:
            job = await connection.create_job("simulon_gaussian", program, shots=100)
            result = await job

    It belongs to the event loop that first uses it and may be entered and left in different tasks. ``settings`` replaces
    all other arguments. Raises ConfigurationError when a setting is missing or malformed.
    """

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
        # Wrapped first, so that no frame of ours keeps the plain text for a traceback to show.
        api_key, access_token = Secret.wrap(api_key), Secret.wrap(access_token)
        if settings is None:
            arguments: SettingsArguments = {}
            if url is not None:
                arguments["url"] = url
            if api_key is not None:
                arguments["api_key"] = api_key
            if access_token is not None:
                arguments["access_token"] = access_token
            if api_version is not None:
                arguments["api_version"] = api_version
            settings = Settings.load(profile, **arguments)
        self._settings = settings
        self._transport = Transport(settings, transport=transport)
        self._api = PlatformAPI(settings, self._transport)
        self._record = JournalSession(settings)
        self._submitter = Submitter(settings, self._transport, self._record)
        interval = PollInterval(least=settings.poll_interval_min, most=settings.poll_interval_max)
        self._poller = Poller(StatusSources(self._api), ChangeFeed(self._api.changes), interval)
        self._compiling = anyio.Lock()
        self._compiled_for: dict[str, Device] = {}

    @property
    def settings(self) -> Settings:
        return self._settings

    @property
    def api(self) -> PlatformAPI:
        """The endpoints themselves, for jobs and groups."""
        return self._api

    @property
    def poller(self) -> Poller:
        """The shared poller, for jobs and groups."""
        return self._poller

    @property
    def submitter(self) -> Submitter:
        """What makes jobs of programs, for groups."""
        return self._submitter

    @property
    def record(self) -> JournalSession:
        """What this connection writes into the journal, for groups."""
        return self._record

    async def __aenter__(self) -> Self:
        self._transport.check_usable()
        return await super().__aenter__()

    async def aclose(self) -> None:
        """Closes the connection. Whoever still waits gets ConnectionClosedError; jobs go on. Safe to call twice."""
        await self._poller.aclose()
        await self._transport.aclose()
        await self._record.flush()

    async def ping(self) -> bool:
        """True when the platform answers and accepts the credentials; raises what is wrong otherwise."""
        await self._api.ping()
        return True

    async def create_job(
        self, target: str, program: ProgramLike, *, shots: int | None = None, name: str | None = None
    ) -> Job:
        """
        Submits ``program`` to run on ``target`` and gives back its job.

        It runs ``shots`` times; without ``shots`` the script's own header says how often. ``name`` is for finding the job
        again. Raises InvalidRequestError for a program that does not parse, ConflictError for one that does not suit the
        target, SubmissionUnknownError when the connection broke in between, which ``recover`` settles, and JournalError when
        the submission cannot be written down before it is sent; and, for a ``strawberryfields.Program``, what
        ``program_text`` raises.
        """
        text = await self.program_text(target, program, shots=shots)
        return self._job(await self._submitter.submit(self._submitter.request(target, text, shots, name)))

    async def recover(self, *, give_up: bool = False) -> Recovery:
        """
        Settles the submissions of this platform and API key that were sent and have no answer, by whichever process.

        They stand in the journal, since a connection broke or a process ended. A platform that honours idempotency keys is sent
        each once more with its key, which gives its job, or makes it now; on another one the job is looked for by name, target
        and program, and what is not found stays unknown and is never sent again by itself. With ``give_up`` those are not asked
        about any more. Leaves alone what a living process has on its way. What was submitted with a key that this one has
        replaced is settled as well: the platform shows that one's latest job to this one. Raises what lets nobody be asked, such
        as TransportError, and JournalError.
        """
        return await recover(self._record, self._submitter, self._api, give_up=give_up)

    def create_jobs(self, target: str, programs: Programs, *, shots: int | None = None, window: int = 100) -> JobStream:
        """
        Submits many programs and iterates over their jobs, in the order of the programs.

        ``programs`` is an iterable or an async iterable, however long, of programs, or of ``Submission``s where one has
        options of its own. At most ``window`` jobs are unfinished at a time, and no more programs than that are taken ahead.
        A platform that offers it gets up to a hundred programs with one request, as many as are at hand.

        A program that is refused is reported by a ``Refusal`` in its place and stops nothing else. A 429, also one that means
        a quota, halves the window, which widens again, and the program is submitted again. What would stop every program,
        such as AuthenticationError or a platform that cannot be reached, is raised; the next step goes on where that one was.

        May be abandoned or cancelled at any step: what the platform has taken by then comes with the next step, and is in
        ``submitted``. An async generator that is cancelled while it makes a program has ended. Raises ValueError for a window
        below 1.
        """
        return JobStream(SubmissionPipeline(self, self._submitter, target, shots, window), programs)

    async def program_text(self, target: str, program: ProgramLike, *, shots: int | None = None) -> str:
        """
        The Blackbird text that ``create_job`` submits.

        A ``strawberryfields.Program`` is compiled for ``target`` in a worker thread, one at a time, by the first compiler of
        the device's specification, which is asked for once a connection; a program that was compiled for this device goes
        as it is. Raises ValueError, with the compiler's own words, for a program that does not compile for the target, or
        that says no shots when ``shots`` does not, and NotFoundError for a target that the platform does not have.
        """
        if isinstance(program, str) or not is_compilable(program):
            return program_text(program)
        async with self._compiling:
            device = await self._device_to_compile_for(target) if needs_compiling(program, target) else None
            return await anyio.to_thread.run_sync(compiled_text, program, target, device, shots)

    async def _device_to_compile_for(self, target: str) -> Device:
        device = self._compiled_for.get(target)
        if device is None:
            specification = await self._api.specification(target)
            certificate = await self._certificate(target)
            device = Device(target=target, specification=specification, certificate=certificate)
            self._compiled_for[target] = device
        return device

    async def get_job(self, job_id: str) -> Job:
        """The job with this id. Raises NotFoundError."""
        return self._job(await self._api.job(job_id))

    def events(self, jobs: Iterable[Job], timeout: float | None = None) -> Events:
        """
        Iterates over what happens to these jobs, until all have ended.

        ``async for event in connection.events(jobs): ...`` gives a ``JobEvent`` for each change of a job's status, and when it
        begins to run. Several changes of a job between two steps are told as one, so that a slow consumer holds nobody up.
        ``timeout`` seconds, from the first step, bound all of it: then WaitTimeoutError, and the jobs go on. May be abandoned
        at any step. Raises ValueError for jobs of another connection.
        """
        return Events(self._poller, jobs, timeout)

    async def list_jobs(
        self,
        *,
        ids: Iterable[str] | None = None,
        status: JobStatus | str | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[Job]:
        """
        Jobs, newest first, asked for page by page as they are consumed.

        At most ``limit`` of them; with ``ids`` only those (none for an empty one), with ``status`` only jobs that have it. A
        platform without paging gives its newest 100.
        """
        wanted = None if ids is None else list(dict.fromkeys(ids))
        word = None if status is None else JobStatus(status)
        left = float("inf") if limit is None else limit
        # An empty filter must never reach the wire, where it would mean "all".
        parts: list[list[str]] = [[]] if wanted is None else list(_parts(wanted, LARGEST_PAGE))
        for part in parts:
            if left <= 0:
                break
            size = len(part) or int(min(left, LARGEST_PAGE))
            async with aclosing(self._api.job_pages(ids=part, status=word, size=size)) as pages:
                async for snapshots in pages:
                    for snapshot in snapshots[: len(snapshots) if limit is None else int(left)]:
                        left -= 1
                        yield self._job(snapshot)
                    if left <= 0:
                        break

    async def cancel_job(self, job_id: str) -> JobStatus:
        """Asks for the job to be cancelled. Raises InvalidJobOperationError when it has ended, NotFoundError."""
        return await Job(job_id, JobStatus.OPEN, self).cancel()

    async def get_job_result(self, job_id: str) -> Result:
        """The result of a completed job. Raises ResultUnavailableError when it has not completed, NotFoundError."""
        return await (await self.get_job(job_id)).fetch_result()

    def open_result(self, job_id: str) -> ResultStream:
        """
        The result of a completed job as it comes: in chunks, into memory or into a file.

            async with connection.open_result(job_id) as stream:
                await stream.save("result.npz")

        Entering the block asks the platform. Raises ResultUnavailableError when the job has not completed, NotFoundError.
        """
        from ..results import ResultStream

        return ResultStream(job_id, partial(self._begin_result, job_id), self._settings.max_result_bytes)

    async def _begin_result(self, job_id: str) -> Downloading:
        (await self.get_job(job_id)).require_result()
        return self._api.open_result(job_id)

    async def get_job_circuit(self, job_id: str) -> str:
        """The program of a job, exactly as it was submitted."""
        return await self._api.circuit(job_id)

    async def list_devices(self) -> list[Device]:
        """The platform's devices, without specifications and certificates."""
        return await self._api.devices()

    async def get_device(self, target: str) -> Device:
        """
        The device with its availability, its specification and its certificate.

        The certificate is None where there is none; version 0.2.0 of the protocol knows only specifications.
        """
        specification = await self._api.specification(target)
        if self._settings.api_version == "0.2.0":
            return Device(target=target, specification=specification)
        device = await self._api.device(target)
        return replace(device, specification=specification, certificate=await self._certificate(target))

    async def _certificate(self, target: str) -> Mapping[str, JSONValue] | None:
        if self._settings.api_version == "0.2.0":
            return None
        try:
            return await self._api.certificate(target)
        except NotFoundError:
            return None

    def _job(self, snapshot: JobSnapshot) -> Job:
        return Job.of(snapshot, self)

    def __del__(self) -> None:
        transport: Transport | None = getattr(self, "_transport", None)  # None when the settings were refused
        # At the interpreter's exit everything goes, and nobody is helped by being told.
        if transport is not None and transport.is_open and not sys.is_finalizing():
            message = f"unclosed {self!r}: use it in a `with` block, or close it"
            warnings.warn(message, ResourceWarning, stacklevel=2, source=self)

    def __repr__(self) -> str:
        return f"<Connection: {self._settings.url}>"


def _parts(items: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
