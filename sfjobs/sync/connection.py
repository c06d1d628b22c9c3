"""The blocking ``Connection`` and ``Job``. The docstrings of the async classes say more."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from .._client.connection import Connection as AsyncConnection
from .._http.transport import HTTPTransport
from .._jobs.job import Job as AsyncJob
from .._protocol.blackbird_template import Params
from .._submission.programs import ProgramLike
from .._submission.recovery import Recovery
from .._util import pydantic_schemas
from ..config import Secret, Settings
from ..models import Device, JobOutlook, JobSnapshot, JobStatus, JSONValue
from ._iteration import iterate
from ._portal import Portal
from ._view import Closeable, View, unwrap
from .events import Events
from .results import ResultStream
from .stream import JobStream, Programs

if TYPE_CHECKING:
    from ..results import Result
    from ..results.download.fetcher import Into

T = TypeVar("T")


class Connection(Closeable, View[AsyncConnection]):
    """
    A connection to one platform.

    Each setting comes from the arguments, then from ``SFJOBS_*`` in the environment, then from ``profile`` in the configuration
    file; ``settings`` replaces all of them. Any number of threads may use it, also inside a running event loop such as a
    notebook's; its own loop runs in a daemon thread until ``close``.
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
        connection = AsyncConnection(
            url,
            api_key=(api_key := Secret.wrap(api_key)),
            access_token=(access_token := Secret.wrap(access_token)),
            api_version=api_version,
            profile=profile,
            settings=settings,
            transport=transport,
        )
        super().__init__(connection, Portal())

    @property
    def settings(self) -> Settings:
        """The settings that the connection was opened with."""
        return self._async.settings

    def __enter__(self) -> Self:
        self._portal.call(self._async.__aenter__)
        return super().__enter__()

    def close(self) -> None:
        """Close the connection."""
        if self._portal.is_open:
            try:
                self._portal.call(self._async.aclose)
            finally:
                self._portal.close()

    def ping(self) -> bool:
        """Return True when the platform responds and accepts the credentials."""
        return self._portal.call(self._async.ping)

    def create_job(
        self,
        target: str,
        program: ProgramLike,
        *,
        shots: int | None = None,
        name: str | None = None,
        params: Params | None = None,
        priority: int | None = None,
    ) -> Job:
        """Submit ``program`` to run on ``target``, and return its job."""
        job = self._portal.call(
            self._async.create_job, target, program, shots=shots, name=name, params=params, priority=priority
        )
        return job_view(job, self)

    def recover(self, *, give_up: bool = False, adopt: Mapping[str, str] | None = None) -> Recovery:
        """Settle the submissions in the journal that were sent and have no response, of any process."""
        return self._portal.call(self._async.recover, give_up=give_up, adopt=adopt)

    def create_jobs(
        self,
        target: str,
        programs: Programs,
        *,
        shots: int | None = None,
        window: int = 100,
        params: Params | None = None,
        priority: int | None = None,
    ) -> JobStream[Job]:
        """Submit many programs, and iterate over their jobs in the order of the programs."""
        stream = self._async.create_jobs(target, (), shots=shots, window=window, params=params, priority=priority)
        return JobStream(stream, self._portal, programs, lambda job: job_view(job, self))

    def program_text(
        self, target: str, program: ProgramLike, *, shots: int | None = None, params: Params | None = None
    ) -> str:
        """Return the Blackbird text that ``create_job`` submits."""
        return self._portal.call(self._async.program_text, target, program, shots=shots, params=params)

    def get_job(self, job_id: str) -> Job:
        """Return the job with this id."""
        return job_view(self._portal.call(self._async.get_job, job_id), self)

    def events(self, jobs: Iterable[Job], timeout: float | None = None) -> Events[Job]:
        """Iterate over the changes of these jobs, until all have ended."""
        views = {unwrap(job)[0]: job for job in jobs}
        return Events(self._async.events(views, timeout), self._portal, views)

    def list_jobs(
        self,
        *,
        ids: Iterable[str] | None = None,
        status: JobStatus | str | None = None,
        limit: int | None = None,
    ) -> Iterator[Job]:
        """Iterate over the jobs, newest first; pages are requested as they are consumed."""
        jobs = self._async.list_jobs(ids=ids, status=status, limit=limit)
        return (job_view(job, self) for job in iterate(self._portal, jobs))

    def cancel_job(self, job_id: str) -> JobStatus:
        """Cancel the job with this id, and return its status, ``cancel_pending`` or ``cancelled``."""
        return self._portal.call(self._async.cancel_job, job_id)

    def delete_job(self, job_id: str) -> None:
        """Delete the job with this id, its program and its result, for good. The job must have ended."""
        self._portal.call(self._async.delete_job, job_id)

    def get_job_result(self, job_id: str) -> Result:
        """Return the result of a completed job."""
        return self._portal.call(self._async.get_job_result, job_id)

    def open_result(self, job_id: str) -> ResultStream:
        """Open the result of a completed job as a stream: in chunks, into memory or into a file."""
        return ResultStream(self._async.open_result(job_id), self._portal)

    def get_job_circuit(self, job_id: str) -> str:
        """Return the program of a job, exactly as it was submitted."""
        return self._portal.call(self._async.get_job_circuit, job_id)

    def list_devices(self) -> list[Device]:
        """Return the platform's devices, without specifications and certificates."""
        return self._portal.call(self._async.list_devices)

    def get_device(self, target: str) -> Device:
        """Return a device with its availability, its specification and its certificate."""
        return self._portal.call(self._async.get_device, target)


class Job(View[AsyncJob]):
    """
    The handle of one job on the platform.

    Two handles with the same id on one connection are equal. A job is copied with its snapshot, and not pickled; ``to_dict`` and
    ``from_dict`` take it into another process.
    """

    __slots__ = ("_connection",)

    def __init__(
        self,
        id_: str,
        status: JobStatus | str,
        connection: Connection,
        meta: Mapping[str, JSONValue] | None = None,
    ) -> None:
        twin, portal = unwrap(connection)
        super().__init__(AsyncJob(id_, status, twin, meta), portal)
        self._connection = connection

    @classmethod
    def from_dict(cls, data: Mapping[str, JSONValue], connection: Connection) -> Self:
        """Return a handle from what ``to_dict`` returned, in any process. Sends no request."""
        return cls._of(AsyncJob.from_dict(data, unwrap(connection)[0]), connection)

    def to_dict(self) -> dict[str, JSONValue]:
        """Return the latest snapshot and the url of the platform as plain values, which ``json`` writes."""
        return self._async.to_dict()

    @property
    def id(self) -> str:
        """The id of the job on the platform."""
        return self._async.id

    @property
    def status(self) -> JobStatus:
        """The status in the latest snapshot."""
        return self._async.status

    @property
    def snapshot(self) -> JobSnapshot:
        """The latest snapshot: all that the platform said of the job, as one frozen value."""
        return self._async.snapshot

    @property
    def meta(self) -> Mapping[str, JSONValue]:
        """The platform's metadata, such as the reason of a failure."""
        return self._async.meta

    @property
    def name(self) -> str | None:
        """The name that the job was submitted with."""
        return self._async.name

    @property
    def target(self) -> str | None:
        """The target that runs the job."""
        return self._async.target

    @property
    def created_at(self) -> datetime | None:
        """Time of the submission, by the platform's clock."""
        return self._async.created_at

    @property
    def started_at(self) -> datetime | None:
        """Time when the job began to run; None while it is in the queue."""
        return self._async.started_at

    @property
    def finished_at(self) -> datetime | None:
        """Time when the job ended; None before."""
        return self._async.finished_at

    @property
    def running_time(self) -> float | None:
        """Seconds on the device; None until the platform reports it."""
        return self._async.running_time

    @property
    def connection(self) -> Connection:
        """The connection that the job belongs to."""
        return self._connection

    @property
    def result(self) -> Result:
        """The result, once ``wait``, ``refresh``, ``fetch_result`` or ``finish`` has fetched it."""
        return self._async.result

    @property
    def has_result(self) -> bool:
        """Whether ``result`` has been fetched."""
        return self._async.has_result

    def refresh(self) -> None:
        """Update the status and the metadata, and fetch the result when the job has completed."""
        self._portal.call(self._async.refresh)

    def cancel(self, *, wait: bool = False, timeout: float | None = None) -> JobStatus:
        """Cancel the job and return its status, ``cancel_pending`` or ``cancelled``."""
        return self._portal.call(self._async.cancel, wait=wait, timeout=timeout)

    def delete(self) -> None:
        """Delete the job on the platform, with its program and its result, for good. The job must have ended."""
        self._portal.call(self._async.delete)

    def why(self) -> JobOutlook:
        """Return why the job is not done yet, from what is known here."""
        return self._portal.call(_run_in_loop, self._async.why)

    def wait(self, timeout: float | None = None, *, fetch_result: bool = True) -> JobStatus:
        """Wait until the job has ended, fetch the result of a completed job, and return the final status."""
        return self._portal.call(self._async.wait, timeout, fetch_result=fetch_result)

    def fetch_result(self, *, into: Into | None = None, mmap: bool = False) -> Result:
        """Return the result of a completed job; fetch it unless that was done before."""
        return self._portal.call(self._async.fetch_result, into=into, mmap=mmap)

    def require_result(self) -> None:
        """Check that the job has completed."""
        self._async.require_result()

    def finish(self) -> Result:
        """Wait for the result and return it."""
        return self._portal.call(self._async.finish)

    def raise_for_status(self) -> None:
        """Check that the job has not failed and was not cancelled."""
        self._async.raise_for_status()

    @classmethod
    def _of(cls, job: AsyncJob, connection: Connection) -> Self:
        view = cls.__new__(cls)
        View.__init__(view, job, unwrap(connection)[1])
        view._connection = connection  # noqa: SLF001 - one of this class
        return view

    def __copy__(self) -> Self:
        job = self._of(copy.copy(self._async), self._connection)
        getattr(job, "__dict__", {}).update(getattr(self, "__dict__", {}))  # of a subclass
        return job

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self.__copy__()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: pydantic_schemas.Handler) -> Any:
        return pydantic_schemas.instances(cls, cls.to_dict)

    def __eq__(self, other: object) -> bool:
        return self._async == other._async if isinstance(other, Job) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._async)

    def _repr_html_(self) -> str:
        return self._async._repr_html_()


def job_view(job: AsyncJob, connection: Connection) -> Job:
    """Return the blocking view of an async job of this connection."""
    return Job._of(job, connection)  # noqa: SLF001 - this module's own class


async def _run_in_loop(func: Callable[[], T]) -> T:
    """Call a function that needs the event loop's clock, or state that does not change meanwhile."""
    return func()
