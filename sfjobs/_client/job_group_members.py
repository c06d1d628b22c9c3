"""The programs of one group as the journal has them, and the handles of their jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from .._jobs.job import Job
from .._journal import GroupMember, GroupTable, State
from ..models import JobStatus
from .connection import Connection
from .job_group_doubt import unknown_error
from .job_group_progress import GroupProgress, field_of


class GroupMembers:
    """A snapshot of the rows of one group. ``load`` renews it."""

    def __init__(self, table: GroupTable, connection: Connection) -> None:
        self._table = table
        self._connection = connection
        self._attempts: list[GroupMember] = []
        self._latest: dict[int, GroupMember] = {}
        self._jobs: dict[str, Job] = {}

    def __len__(self) -> int:
        return len(self._latest)

    @property
    def latest(self) -> list[GroupMember]:
        """Every program at its latest attempt, in the order in which they were added."""
        return list(self._latest.values())

    @property
    def jobs(self) -> list[Job]:
        """The jobs of the latest attempts, in the order of the programs."""
        return [self._job(member.job_id, member) for member in self._latest.values() if member.job_id is not None]

    @property
    def progress(self) -> GroupProgress:
        counts = Counter(field_of(member.state, self.status(member)) for member in self._latest.values())
        return GroupProgress(programs=counts.total(), **counts)

    def check_all_sent(self, name: str, refusals: Mapping[str, Exception]) -> None:
        """
        Raise what keeps programs of the group ``name`` from being sent or settled, so that waiting does not help. ``refusals``
        are the errors of the latest sending, by key.
        """
        unsent = [member for member in self._latest.values() if member.state in (State.ADDED, State.UNSENT)]
        for member in unsent:
            if (error := refusals.get(member.key)) is not None:
                raise error
        if self.progress.in_doubt and not unsent:
            raise unknown_error(name, self.latest, self._connection.settings.url)

    def attempts(self, index: int) -> list[GroupMember]:
        return [member for member in self._attempts if member.index == index]

    def status(self, member: GroupMember) -> JobStatus | None:
        """The latest status of a member's job: of its handle, else as the journal has it."""
        job = self._jobs.get(member.job_id or "")
        return member.status if job is None else job.status

    async def load(self) -> None:
        """Read all rows from the journal."""
        self._attempts = await self._table.load()
        self._latest = {member.index: member for member in self._attempts}  # the latest attempt comes last

    async def add(self, members: Iterable[GroupMember]) -> None:
        """Add what was just written. All rows are read again only when another process has added some, too."""
        added = [member for member in members if member.index not in self._latest]
        if [member.index for member in added] == list(range(len(self), len(self) + len(added))):
            self._attempts += added
            self._latest.update((member.index, member) for member in added)
        else:
            await self.load()

    def note_final(self, jobs: Iterable[Job]) -> None:
        """Write the final statuses into the journal, so that no later program polls these jobs."""
        keys = {member.job_id: member.key for member in self._latest.values()}
        statuses = [(keys[job.id], job.status) for job in jobs if job.status.is_final and job.id in keys]
        if statuses:
            self._table.note_statuses(statuses)

    def _job(self, job_id: str, member: GroupMember) -> Job:
        job = self._jobs.get(job_id)
        if job is None:
            job = self._jobs[job_id] = Job(job_id, member.status or JobStatus.OPEN, self._connection)
        return job
