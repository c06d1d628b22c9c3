"""Many jobs under a name, blocking."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

from .._client.job_group import JobGroup as AsyncJobGroup
from .._client.job_group_progress import GroupProgress
from .._journal import GroupMember
from .._submission.programs import ProgramLike
from .._submission.types import Submission
from .connection import Connection, Job

if TYPE_CHECKING:
    from ..results import Result


class JobGroup:
    """
    Programs and their jobs under a name, kept in the journal: what is begun here can be gone on with in another process.
    The async group is the documentation.
    """

    def __init__(self, name: str, connection: Connection) -> None:
        self._connection = connection
        self._group = AsyncJobGroup(name, connection.twin)

    @classmethod
    def open(cls, name: str, connection: Connection) -> Self:
        """The group of this name as the journal has it, or a new one."""
        group = cls(name, connection)
        group._group = connection.call(AsyncJobGroup.open, name, connection.twin)
        return group

    @property
    def name(self) -> str:
        return self._group.name

    @property
    def connection(self) -> Connection:
        return self._connection

    @property
    def members(self) -> list[GroupMember]:
        """Every program at its latest attempt, in the order in which they were added."""
        return self._group.members

    @property
    def jobs(self) -> list[Job]:
        """The jobs that the platform has of the latest attempts, in the order of the programs."""
        return [Job.of(job, self._connection) for job in self._group.jobs]

    @property
    def progress(self) -> GroupProgress:
        """How far the programs are, as far as is known here. Asks nobody."""
        return self._group.progress

    def attempts(self, index: int) -> list[GroupMember]:
        """All attempts at the ``index``-th program, the first one first: each ``follows`` the key of the one before."""
        return self._group.attempts(index)

    def add(
        self, target: str, program: ProgramLike, *, shots: int | None = None, name: str | None = None
    ) -> GroupMember:
        """Adds a program, which ``submit`` or ``wait`` will send, and returns once it is on disk."""
        return self._connection.call(self._group.add, target, program, shots=shots, name=name)

    def add_all(
        self, target: str, programs: Iterable[ProgramLike | Submission], *, shots: int | None = None
    ) -> list[GroupMember]:
        """Adds many programs, as ``add`` does, with few commits. What was added before an error stays."""
        # Made here, so that what makes them may use the connection itself.
        programs = programs if isinstance(programs, str) else list(programs)
        return self._connection.call(self._group.add_all, target, programs, shots=shots)

    def submit(self, *, window: int | None = None) -> GroupProgress:
        """Sends what is not sent, and settles what was sent and has no answer, as ``Connection.recover`` does."""
        return self._connection.call(self._group.submit, window=window)

    def wait(self, timeout: float | None = None, *, progress: bool = False) -> GroupProgress:
        """Waits until every job of the group has ended, after sending what is not sent; a failed job raises nothing."""
        return self._connection.call(self._group.wait, timeout, progress=progress)

    def results(self) -> list[Result | None]:
        """The results in the order of the programs, None for each that has none, after waiting for all jobs."""
        return self._connection.call(self._group.results)

    def rerun_failed(self, max_attempts: int = 3) -> int:
        """Submits the programs of failed jobs once more, those that had fewer than ``max_attempts`` attempts; says how many."""
        return self._connection.call(self._group.rerun_failed, max_attempts)

    def cancel(self) -> GroupProgress:
        """Cancels what has not ended, a bounded number at a time; what was not sent never will be."""
        return self._connection.call(self._group.cancel)

    def remove(self) -> None:
        """Forgets the group: its rows leave the journal, and its jobs stay on the platform."""
        self._connection.call(self._group.remove)

    def __len__(self) -> int:
        return len(self._group)

    def __repr__(self) -> str:
        return repr(self._group)
