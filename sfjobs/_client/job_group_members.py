"""The programs of one group as the journal has them, and the handles of their jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from .._jobs.job import Job
from .._journal import GroupMember, GroupTable, State
from ..models import JobStatus
from .connection import Connection
from .job_group_errors import unknown_error
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
        return [self._with_status(member) for member in self._latest.values()]

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

    @property
    def in_doubt(self) -> set[str]:
        """The keys of the submissions without a response, also of those that a process is sending now."""
        return {member.key for member in self._latest.values() if member.state == State.OPEN}

    def attempts(self, index: int) -> list[GroupMember]:
        return [self._with_status(member) for member in self._attempts if member.index == index]

    def status(self, member: GroupMember) -> JobStatus | None:
        """The latest status of a member's job: a final one as the journal has it, else the one of its handle."""
        job = self._jobs.get(member.job_id or "")
        if job is None or (member.status is not None and member.status.is_final):
            return member.status
        return job.status

    async def load(self) -> None:
        """Read all rows from the journal. Raises JournalError when those that were known are gone."""
        self._attempts = await self._table.load(self._attempts)
        self._latest = {member.index: member for member in self._attempts}  # the latest attempt comes last

    def clear(self) -> None:
        """Forget all rows, which are removed."""
        self._attempts, self._latest = [], {}

    async def add(self, members: Iterable[GroupMember]) -> None:
        """Add what was just written. All rows are read again only when another process has added some, too."""
        added = [member for member in members if member.index not in self._latest]
        if [member.index for member in added] == list(range(len(self), len(self) + len(added))):
            self._attempts += added
            self._latest.update((member.index, member) for member in added)
        else:
            await self.load()

    def note_final(self, jobs: Iterable[Job]) -> None:
        """Write final statuses that the journal has not into it, so that no later program polls these jobs."""
        members = {member.job_id: member for member in self._latest.values()}
        noted = [(members[job.id], job.status) for job in jobs if job.status.is_final and job.id in members]
        statuses = [(member.key, status) for member, status in noted if member.status != status]
        if statuses:
            self._table.note_statuses(statuses)

    def _with_status(self, member: GroupMember) -> GroupMember:
        """The member as the journal has it once the final status of its job is noted."""
        status = self.status(member)
        is_news = status is not None and status.is_final and status != member.status
        return replace(member, status=status) if is_news else member

    def _job(self, job_id: str, member: GroupMember) -> Job:
        job = self._jobs.get(job_id)
        if job is None:
            job = self._jobs[job_id] = Job(job_id, member.status or JobStatus.OPEN, self._connection)
        return job
