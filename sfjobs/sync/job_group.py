"""Many jobs under a name, blocking."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

from .._client.job_group import JobGroup as AsyncJobGroup
from .._client.job_group_progress import GroupProgress
from .._journal import GroupMember
from .._protocol.blackbird_template import Params
from .._submission.programs import ProgramLike
from .._submission.types import Submission
from ._view import View, unwrap
from .connection import Connection, Job, job_view

if TYPE_CHECKING:
    from ..results import Result


class JobGroup(View[AsyncJobGroup]):
    """Programs and their jobs under a name, kept in the journal, so that any later program can continue them."""

    def __init__(self, name: str, connection: Connection) -> None:
        twin, portal = unwrap(connection)
        super().__init__(AsyncJobGroup(name, twin), portal)
        self._connection = connection

    @classmethod
    def open(cls, name: str, connection: Connection, *, begin_anew: bool = False) -> Self:
        """Open the group of this name, or begin a new one."""
        group = cls(name, connection)
        twin, portal = unwrap(connection)
        group._async = portal.call(AsyncJobGroup.open, name, twin, begin_anew=begin_anew)
        return group

    @property
    def name(self) -> str:
        """The name of the group."""
        return self._async.name

    @property
    def connection(self) -> Connection:
        """The connection that the group uses."""
        return self._connection

    @property
    def members(self) -> list[GroupMember]:
        """Every program at its latest attempt, in the order in which they were added."""
        return self._async.members

    @property
    def jobs(self) -> list[Job]:
        """The jobs of the latest attempts that the platform has, in the order of the programs."""
        return [job_view(job, self._connection) for job in self._async.jobs]

    @property
    def progress(self) -> GroupProgress:
        """Counts of the programs by how far they are, as known here; no request is sent."""
        return self._async.progress

    def attempts(self, index: int) -> list[GroupMember]:
        """Return all attempts at the program ``index`` (from 0), the first one first."""
        return self._async.attempts(index)

    def add(
        self,
        target: str,
        program: ProgramLike,
        *,
        shots: int | None = None,
        name: str | None = None,
        params: Params | None = None,
    ) -> GroupMember:
        """Add a program, and return once it is on disk."""
        return self._portal.call(self._async.add, target, program, shots=shots, name=name, params=params)

    def add_all(
        self, target: str, programs: Iterable[ProgramLike | Submission], *, shots: int | None = None
    ) -> list[GroupMember]:
        """Add many programs with few commits, as ``add`` does."""
        # In this thread, so that a generator of programs may use the connection itself.
        programs = programs if isinstance(programs, str) else list(programs)
        return self._portal.call(self._async.add_all, target, programs, shots=shots)

    def submit(self, *, window: int | None = None) -> GroupProgress:
        """Send what is not sent, and settle submissions without a response, as ``Connection.recover`` does."""
        return self._portal.call(self._async.submit, window=window)

    def wait(self, timeout: float | None = None, *, progress: bool = False) -> GroupProgress:
        """Send what is not sent, and wait until every job of the group has ended."""
        return self._portal.call(self._async.wait, timeout, progress=progress)

    def results(self) -> list[Result | None]:
        """Wait for all jobs and return the results in the order of the programs, None for each program without one."""
        return self._portal.call(self._async.results)

    def rerun_failed(self, max_attempts: int = 3) -> int:
        """Submit the programs of failed jobs again, and return how many."""
        return self._portal.call(self._async.rerun_failed, max_attempts)

    def cancel(self) -> GroupProgress:
        """Cancel all jobs that have not ended, and give up what is not sent."""
        return self._portal.call(self._async.cancel)

    def remove(self) -> None:
        """Remove the rows of the group from the journal; its jobs stay on the platform."""
        self._portal.call(self._async.remove)

    def __len__(self) -> int:
        return len(self._async)
