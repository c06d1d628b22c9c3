"""The blocking ``Connection`` and ``Job``: one line a method over the async ones, which are the documentation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Literal, ParamSpec, Self, TypeVar

from .._client.connection import Connection as AsyncConnection
from .._http.transport import HTTPTransport
from .._jobs.job import Job as AsyncJob
from .._submission.programs import ProgramLike
from .._submission.recovery import Recovery
from .._submission.stream import pipeline_of
from ..config import Secret, Settings
from ..models import Device, JobOutlook, JobSnapshot, JobStatus, JSONValue
from ._closeable import Closeable
from ._iteration import each
from ._portal import Portal
from .events import Events
from .results import ResultStream
from .stream import JobStream, Programs

if TYPE_CHECKING:
    from ..results import Result
    from ..results.download.fetcher import Into

P = ParamSpec("P")
T = TypeVar("T")


class Connection(Closeable):
    """
    A connection to a platform, described by its settings: arguments, then ``SFJOBS_*`` in the environment, then the
    configuration file. May be used from any number of threads, and inside a running event loop such as a notebook's; its
    own loop runs in one daemon thread until ``close``.
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
        self._async = AsyncConnection(
            url,
            api_key=(api_key := Secret.wrap(api_key)),
            access_token=(access_token := Secret.wrap(access_token)),
            api_version=api_version,
            profile=profile,
            settings=settings,
            transport=transport,
        )
        self._bridge = Portal()

    @property
    def settings(self) -> Settings:
        return self._async.settings

    def __enter__(self) -> Self:
        self.call(self._async.__aenter__)
        return super().__enter__()

    def close(self) -> None:
        """Closes the connection. Whoever still waits gets ConnectionClosedError; jobs go on. Safe to call twice."""
        if self._bridge.is_open:
            try:
                self.call(self._async.aclose)
            finally:
                self._bridge.close()

    def ping(self) -> bool:
        """True when the platform answers and accepts the credentials; raises what is wrong otherwise."""
        return self.call(self._async.ping)

    def create_job(
        self, target: str, program: ProgramLike, *, shots: int | None = None, name: str | None = None
    ) -> Job:
        """Submits ``program`` to run on ``target`` and gives back its job."""
        return self._job(self.call(self._async.create_job, target, program, shots=shots, name=name))

    def recover(self, *, give_up: bool = False) -> Recovery:
        """Settles the submissions of this platform and API key that were sent and have no answer, by whichever process."""
        return self.call(self._async.recover, give_up=give_up)

    def create_jobs(self, target: str, programs: Programs, *, shots: int | None = None, window: int = 100) -> JobStream:
        """Submits many programs and iterates over their jobs, in the order of the programs."""
        stream = self._async.create_jobs(target, (), shots=shots, window=window)
        return JobStream(self, self._job, pipeline_of(stream), programs)

    def program_text(self, target: str, program: ProgramLike, *, shots: int | None = None) -> str:
        """The Blackbird text that ``create_job`` submits."""
        return self.call(self._async.program_text, target, program, shots=shots)

    def get_job(self, job_id: str) -> Job:
        """The job with this id. Raises NotFoundError."""
        return self._job(self.call(self._async.get_job, job_id))

    def events(self, jobs: Iterable[Job], timeout: float | None = None) -> Events:
        """Iterates over what happens to these jobs, until all have ended."""
        return Events(self, jobs, timeout)

    def list_jobs(
        self,
        *,
        ids: Iterable[str] | None = None,
        status: JobStatus | str | None = None,
        limit: int | None = None,
    ) -> Iterator[Job]:
        """Jobs, newest first, asked for page by page as they are consumed."""
        return map(self._job, each(self, self._async.list_jobs(ids=ids, status=status, limit=limit)))

    def cancel_job(self, job_id: str) -> JobStatus:
        """Asks for the job to be cancelled. Raises InvalidJobOperationError when it has ended, NotFoundError."""
        return self.call(self._async.cancel_job, job_id)

    def get_job_result(self, job_id: str) -> Result:
        """The result of a completed job. Raises ResultUnavailableError when it has not completed, NotFoundError."""
        return self.call(self._async.get_job_result, job_id)

    def open_result(self, job_id: str) -> ResultStream:
        """The result of a completed job as it comes: in chunks, into memory or into a file."""
        return ResultStream(self, self._async.open_result(job_id))

    def get_job_circuit(self, job_id: str) -> str:
        """The program of a job, exactly as it was submitted."""
        return self.call(self._async.get_job_circuit, job_id)

    def list_devices(self) -> list[Device]:
        """The platform's devices, without specifications and certificates."""
        return self.call(self._async.list_devices)

    def get_device(self, target: str) -> Device:
        """The device with its availability, its specification and its certificate."""
        return self.call(self._async.get_device, target)

    def call(self, method: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a coroutine function on the connection's own loop: the way in for the other classes here."""
        return self._bridge.call(method, *args, **kwargs)

    @property
    def twin(self) -> AsyncConnection:
        """The async connection, for use inside ``call``."""
        return self._async

    def _job(self, job: AsyncJob) -> Job:
        return Job.of(job, self)

    def __repr__(self) -> str:
        return repr(self._async)


class Job:
    """
    One job on the platform: a view of an async ``Job``, whose documentation is its own. Two views of the same id on the same
    connection are equal.
    """

    __slots__ = ("_connection", "_job")

    def __init__(
        self,
        id_: str,
        status: JobStatus | str,
        connection: Connection,
        meta: Mapping[str, JSONValue] | None = None,
    ) -> None:
        self._connection = connection
        self._job = AsyncJob(id_, status, connection.twin, meta)

    @classmethod
    def of(cls, job: AsyncJob, connection: Connection) -> Job:
        """The blocking view of an async job of this connection."""
        view = cls(job.id, job.status, connection)
        view._job = job
        return view

    @property
    def twin(self) -> AsyncJob:
        """The async job, for use inside ``Connection.call``."""
        return self._job

    @property
    def id(self) -> str:
        return self._job.id

    @property
    def status(self) -> JobStatus:
        """The status last heard of."""
        return self._job.status

    @property
    def snapshot(self) -> JobSnapshot:
        """All that was last heard of the job, as one frozen value."""
        return self._job.snapshot

    @property
    def meta(self) -> Mapping[str, JSONValue]:
        """What else the platform says, such as the reason of a failure."""
        return self._job.meta

    @property
    def name(self) -> str | None:
        return self._job.name

    @property
    def target(self) -> str | None:
        return self._job.target

    @property
    def created_at(self) -> datetime | None:
        return self._job.created_at

    @property
    def started_at(self) -> datetime | None:
        """When the job began to run; None while it waits in the queue."""
        return self._job.started_at

    @property
    def finished_at(self) -> datetime | None:
        return self._job.finished_at

    @property
    def running_time(self) -> float | None:
        """Seconds on the device, once known."""
        return self._job.running_time

    @property
    def connection(self) -> Connection:
        return self._connection

    @property
    def result(self) -> Result:
        """The result, once ``wait``, ``refresh``, ``fetch_result`` or ``finish`` has brought it."""
        return self._job.result

    @property
    def has_result(self) -> bool:
        """Whether ``result`` is at hand."""
        return self._job.has_result

    def refresh(self) -> None:
        """Takes over the present status and metadata and, when the job has newly completed, its result."""
        self._connection.call(self._job.refresh)

    def cancel(self, *, wait: bool = False, timeout: float | None = None) -> JobStatus:
        """Asks the platform to cancel the job and takes over its answer, ``cancel_pending`` or ``cancelled``."""
        return self._connection.call(self._job.cancel, wait=wait, timeout=timeout)

    def why(self) -> JobOutlook:
        """Why this job is not done yet, as far as is known here and now. Asks nobody, and works while others wait for it."""
        return self._connection.call(in_the_loop, self._job.why)

    def wait(self, timeout: float | None = None, *, fetch_result: bool = True) -> JobStatus:
        """Waits until the job has ended and, when it completed, its result is at hand; returns the final status."""
        return self._connection.call(self._job.wait, timeout, fetch_result=fetch_result)

    def fetch_result(self, *, into: Into | None = None, mmap: bool = False) -> Result:
        """The result, fetched now unless it is at hand."""
        return self._connection.call(self._job.fetch_result, into=into, mmap=mmap)

    def require_result(self) -> None:
        """Raises ResultUnavailableError, which names the present status, unless the job has completed."""
        self._job.require_result()

    def finish(self) -> Result:
        """Waits for the result and returns it."""
        return self._connection.call(self._job.finish)

    def raise_for_status(self) -> None:
        """Raises FailedJobError or CancelledJobError, with the platform's reason, when the job ended that way."""
        self._job.raise_for_status()

    def __eq__(self, other: object) -> bool:
        return self._job == other._job if isinstance(other, Job) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._job)

    def _repr_html_(self) -> str:
        return self._job._repr_html_()

    def __repr__(self) -> str:
        return repr(self._job)


async def in_the_loop(ask: Callable[[], T]) -> T:
    """For what needs the loop's clock, or its state to stand still, and no waiting."""
    return ask()
