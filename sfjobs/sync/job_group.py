"""Many jobs under a name, blocking."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

from .._client.job_group import JobGroup as AsyncJobGroup
from .._client.job_group_progress import GroupProgress
from .._journal import GroupMember
from .._submission.programs import ProgramLike
from .._submission.stream import Submission
from ._view import View, internals
from .connection import Connection, Job, job_view

if TYPE_CHECKING:
    from ..results import Result


class JobGroup(View[AsyncJobGroup]):
    """Programs and their jobs under a name, kept in the journal, so that another process can go on with them."""

    def __init__(self, name: str, connection: Connection) -> None:
        twin, portal = internals(connection)
        super().__init__(AsyncJobGroup(name, twin), portal)
        self._connection = connection

    @classmethod
    def open(cls, name: str, connection: Connection) -> Self:
        """The group of this name as the journal has it, or a new one."""
        group = cls(name, connection)
        twin, portal = internals(connection)
        group._async = portal.call(AsyncJobGroup.open, name, twin)
        return group

    @property
    def name(self) -> str:
        return self._async.name

    @property
    def connection(self) -> Connection:
        return self._connection

    @property
    def members(self) -> list[GroupMember]:
        """Every program at its latest attempt, in the order in which they were added."""
        return self._async.members

    @property
    def jobs(self) -> list[Job]:
        """The jobs that the platform has of the latest attempts, in the order of the programs."""
        return [job_view(job, self._connection) for job in self._async.jobs]

    @property
    def progress(self) -> GroupProgress:
        """How far the programs are, as far as is known here. Asks nobody."""
        return self._async.progress

    def attempts(self, index: int) -> list[GroupMember]:
        """All attempts at the ``index``-th program, the first one first: each ``follows`` the key of the one before."""
        return self._async.attempts(index)

    def add(
        self, target: str, program: ProgramLike, *, shots: int | None = None, name: str | None = None
    ) -> GroupMember:
        """Adds a program, which ``submit`` or ``wait`` will send, and returns once it is on disk."""
        return self._portal.call(self._async.add, target, program, shots=shots, name=name)

    def add_all(
        self, target: str, programs: Iterable[ProgramLike | Submission], *, shots: int | None = None
    ) -> list[GroupMember]:
        """Adds many programs, as ``add`` does, with few commits. What was added before an error stays."""
        # In this thread, so that a generator of programs may use the connection itself.
        programs = programs if isinstance(programs, str) else list(programs)
        return self._portal.call(self._async.add_all, target, programs, shots=shots)

    def submit(self, *, window: int | None = None) -> GroupProgress:
        """Sends what is not sent, and settles what was sent and has no answer, as ``Connection.recover`` does."""
        return self._portal.call(self._async.submit, window=window)

    def wait(self, timeout: float | None = None, *, progress: bool = False) -> GroupProgress:
        """Waits until every job of the group has ended, after sending what is not sent; a failed job raises nothing."""
        return self._portal.call(self._async.wait, timeout, progress=progress)

    def results(self) -> list[Result | None]:
        """The results in the order of the programs, None for each that has none, after waiting for all jobs."""
        return self._portal.call(self._async.results)

    def rerun_failed(self, max_attempts: int = 3) -> int:
        """Submits the programs of failed jobs once more, those that had fewer than ``max_attempts`` attempts; says how many."""
        return self._portal.call(self._async.rerun_failed, max_attempts)

    def cancel(self) -> GroupProgress:
        """Cancels what has not ended, a bounded number at a time; what was not sent never will be."""
        return self._portal.call(self._async.cancel)

    def remove(self) -> None:
        """Forgets the group: its rows leave the journal, and its jobs stay on the platform."""
        self._portal.call(self._async.remove)

    def __len__(self) -> int:
        return len(self._async)
