"""
Many jobs under a name, which outlive the program that began them: a view of the journal. ``groups`` waits for jobs that are at
hand; this knows which there are.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

import anyio

from .._jobs.cancellation import BulkCancellation
from .._jobs.job import Job
from .._jobs.result_prefetch import ResultPrefetcher
from .._jobs.waiting import Completions
from .._journal import GroupMember, GroupTable, Intent
from .._progress import shown
from .._submission.key_rotation import adopt_group
from .._submission.programs import ProgramLike
from .._submission.recovery import Recovery, recover
from .._submission.types import Submission
from .._tracking.outages import retry_until_available
from .._tracking.types import in_words
from .._util.aio import plain_task_group
from ..errors import ConfigurationError, InvalidJobOperationError, SFJobsError, WaitTimeoutError
from ..models import JobStatus
from .connection import Connection
from .job_group_progress import GroupProgress, standing
from .job_group_sender import send

if TYPE_CHECKING:
    from ..results import Result

logger = logging.getLogger("sfjobs")

AT_ONCE = 500
"""Programs that are added with one commit, or read for being sent."""

NOTED_AT_ONCE = 100
"""Jobs that end before the journal hears of them."""

OTHERS_PAUSE = 1.0
"""Seconds before there is another look at what somebody else was about to send."""


class JobGroup:
    """
    Programs and their jobs under a name, kept in the journal: what is begun here can be gone on with in another process.

        group = await sfjobs.JobGroup.open("sweep-7", connection)
        await group.add_all("X8_01", [sfjobs.Submission(program, name=name) for name, program in sweep.items()])
        await group.wait(progress=True)  # sends what is not sent, settles what has no answer, waits for the rest
        results = await group.results()

    Those that are there already, by their names, stay as they are: the same lines go on with it, whenever they are run again.

    A group is one platform's and one account's. Its rows stay in the journal until somebody removes them.
    """

    def __init__(self, name: str, connection: Connection) -> None:
        journal = connection.record.journal
        if journal is None:
            raise ConfigurationError(
                "A group of jobs lives in the journal of submissions, which is off.\n"
                "Set SFJOBS_JOURNAL to on, or to the path of a file."
            )
        if not name or not name.isprintable():
            raise ValueError(f"the name of a group is one line of text, not {name[:100]!r}")
        self._name = name
        self._connection = connection
        self._journal = journal
        self._roll = GroupTable(journal, name, connection.record.url, connection.record.account)
        self._members: list[GroupMember] = []
        self._current: dict[int, GroupMember] = {}
        self._before: set[str] = set()  # digests of what was there without a name when this was opened
        self._jobs: dict[str, Job] = {}
        self._trouble: str | None = None
        self._turn = anyio.Lock()

    @classmethod
    async def open(cls, name: str, connection: Connection) -> Self:
        """
        The group of this name as the journal has it, or a new one.

        The platform is only asked where it was begun with another API key: when it shows this key the jobs of that one, this has
        replaced it, and the group is found as it is. Otherwise, and where the journal is off, raises ConfigurationError;
        ValueError for a name that is none, JournalError, and what lets the platform not be asked.
        """
        group = cls(name, connection)
        await group._load()
        group._before = {member.digest for member in group._members if member.name is None}
        return group

    @property
    def name(self) -> str:
        return self._name

    @property
    def connection(self) -> Connection:
        return self._connection

    @property
    def members(self) -> list[GroupMember]:
        """Every program at its latest attempt, in the order in which they were added."""
        return list(self._current.values())

    @property
    def jobs(self) -> list[Job]:
        """The jobs that the platform has of the latest attempts, in the order of the programs."""
        return [self._job(member) for member in self._current.values() if member.job_id is not None]

    @property
    def progress(self) -> GroupProgress:
        """How far the programs are, as far as is known here. Asks nobody."""
        counts = Counter(standing(member.state, self._status(member)) for member in self._current.values())
        return GroupProgress(programs=counts.total(), **counts)

    def attempts(self, index: int) -> list[GroupMember]:
        """All attempts at the ``index``-th program, the first one first: each ``follows`` the key of the one before."""
        found = [member for member in self._members if member.index == index]
        if not found:
            raise IndexError(f"the group {self._name!r} has no program {index}")
        return found

    async def add(
        self, target: str, program: ProgramLike, *, shots: int | None = None, name: str | None = None
    ) -> GroupMember:
        """
        Adds a program, which ``submit`` or ``wait`` will send, and returns once it is on disk.

        A program whose ``name`` the group has already is not added again, so that a script may be run again as it is; raises
        ValueError when it is another program, and for one without a name that was there when the group was opened. Raises
        what ``Connection.program_text`` does, and JournalError.
        """
        [member] = await self.add_all(target, [Submission(program, shots, name)])
        return member

    async def add_all(
        self, target: str, programs: Iterable[ProgramLike | Submission], *, shots: int | None = None
    ) -> list[GroupMember]:
        """Adds many programs, as ``add`` does, with few commits. What was added before an error stays."""
        if isinstance(programs, str):
            raise TypeError("many programs are an iterable of programs, not one text: see add")
        found: list[GroupMember] = []
        part: list[Intent] = []
        try:
            for program in programs:
                submission = program if isinstance(program, Submission) else Submission(program)
                part.append(await self._intent(target, shots, submission))
                if len(part) == AT_ONCE:
                    adding, part = part, []
                    found += await self._roll.add(adding)
        finally:
            if part:
                found += await self._roll.add(part)
            await self._take_in(found)
        return found

    async def submit(self, *, window: int | None = None) -> GroupProgress:
        """
        Sends what is not sent, and settles what was sent and has no answer, as ``Connection.recover`` does.

        At most ``window`` jobs are unfinished at a time; by default there is no bound but the platform's own, and a 429 makes
        it wait. A refused program stops nothing else. May be cancelled at any moment and called again, in another process
        too; of several at once each sends what no other one does, and does not wait for those. Raises what lets no submission
        succeed, such as AuthenticationError.
        """
        await self._submit(window)
        return self.progress

    async def wait(self, timeout: float | None = None, *, progress: bool = False) -> GroupProgress:
        """
        Waits until every job of the group has ended, after sending what is not sent; a failed job raises nothing.

        What another process is about to send is waited for, too, and sent if that one dies. ``timeout`` seconds bound all of it:
        then WaitTimeoutError, and the jobs go on. With ``progress`` a line on stderr, or in a notebook's cell, says meanwhile
        how far they are. A platform that is away is waited out, as ``Job.wait`` does. Raises what else ``submit`` does; an error
        about one job is raised once all others have ended.
        """
        with anyio.move_on_after(timeout) as scope:
            await self._finish(progress=progress)
        if scope.cancelled_caught:
            raise self._too_late(timeout)
        return self.progress

    async def results(self) -> list[Result | None]:
        """
        The results in the order of the programs, None for each that has none, after waiting for all jobs.

        They are held in memory, all at once; ``jobs`` is the way to take one after the other. Raises what ``wait`` does, and the
        first error of a download once the others are done.
        """
        await self.wait()
        async with plain_task_group() as group:
            downloads = ResultPrefetcher(group)
            for job in self.jobs:
                downloads.begin(job)
        downloads.raise_for_bugs()
        for error in downloads.errors.values():
            raise error
        jobs = {job.id: job for job in self.jobs}
        found = [jobs.get(member.job_id or "") for member in self._current.values()]
        return [job.result if job is not None and job.has_result else None for job in found]

    async def rerun_failed(self, max_attempts: int = 3) -> int:
        """
        Submits the programs of failed jobs once more, those that had fewer than ``max_attempts`` attempts; says how many.

        Each is a new job, and ``attempts`` tells what came before it. Cancelled jobs and refused programs are left alone. Raises
        ValueError for fewer attempts than one.
        """
        if max_attempts < 1:
            raise ValueError(f"a program has at least one attempt, not {max_attempts}")
        failed = [
            member.key
            for member in self._current.values()
            if member.attempt < max_attempts and self._status(member) == JobStatus.FAILED
        ]
        if not failed:
            return 0
        added = await self._roll.repeat(failed)
        await self.submit()
        return added

    async def cancel(self) -> GroupProgress:
        """
        Cancels what has not ended, a bounded number at a time; what was not sent never will be.

        What has no answer is settled first, as ``Connection.recover`` does, so that nothing is left running. A job that was
        faster ends as it does. An error about one job is raised once the others have been asked.
        """
        async with self._turn:
            await self._roll.give_up()
            await self._settle()
            await self._load()
        cancellations = BulkCancellation(self.jobs, insists=False)
        try:
            await cancellations.send()
        finally:
            self._note(self.jobs)
        for error in cancellations.errors.values():
            raise error
        return self.progress

    async def remove(self) -> None:
        """
        Forgets the group: its rows leave the journal, and its jobs stay on the platform.

        Raises InvalidJobOperationError while there is something to be sent, settled or waited for: ``cancel`` it and ``wait``
        before.
        """
        await self._load()
        progress = self.progress
        if not progress.is_over or not await self._roll.remove():
            raise InvalidJobOperationError(
                f"the group {self._name!r} is not over: {progress.added} programs are yet to be sent, {progress.in_doubt} have no"
                f" answer, {progress.unfinished} jobs are unfinished. Cancel it and wait, or ask no more about what has no"
                " answer: `sfjobs recover --give-up`"
            )
        await self._load()

    def __len__(self) -> int:
        return len(self._current)

    def __repr__(self) -> str:
        return f"<JobGroup {self._name!r}: {len(self)} programs at {self._connection.settings.url}>"

    async def _load(self) -> None:
        members = await self._roll.load()
        record, api = self._connection.record, self._connection.api
        if not members and await adopt_group(record, self._journal, api, self._name):
            members = await self._roll.load()
        self._members = members
        self._current = {member.index: member for member in self._members}  # the last attempt at each comes last

    async def _take_in(self, members: Iterable[GroupMember]) -> None:
        """Without reading all the others again, unless another process has added some: programs may come one by one."""
        news = [member for member in members if member.index not in self._current]
        if [member.index for member in news] == list(range(len(self), len(self) + len(news))):
            self._members += news
            self._current.update((member.index, member) for member in news)
        else:
            await self._load()

    async def _intent(self, target: str, shots: int | None, submission: Submission) -> Intent:
        target = submission.target or target
        shots = shots if submission.shots is None else submission.shots
        text = await self._connection.program_text(target, submission.program, shots=shots)
        intent = self._connection.submitter.request(target, text, shots, submission.name).intent
        if submission.name is None and intent.digest in self._before:
            raise ValueError(
                f"the group {self._name!r} had this program before it was opened here, and without a name nobody can tell whether"
                " it is to run once more: leave out what the group has, or give each a name, as in Submission(program, name=...)"
            )
        return intent

    async def _submit(self, window: int | None = None) -> int:
        """How many programs are left that a living process, such as this one, has on its way elsewhere."""
        async with self._turn:
            try:
                recovery = await self._settle()
                return recovery.under_way + await send(self._roll, self._connection, window)
            finally:
                with anyio.CancelScope(shield=True):
                    await self._load()

    async def _settle(self) -> Recovery:
        connection = self._connection
        return await recover(connection.record, connection.submitter, connection.api, group=self._name)

    async def _finish(self, *, progress: bool) -> None:
        while True:
            others = await retry_until_available(self._submit, self._note_trouble, self._connection.poller.interval)
            if self.progress.in_doubt:  # their answers were lost just now: these jobs are to be waited for as well
                others = await retry_until_available(self._submit, self._note_trouble, self._connection.poller.interval)
            self._trouble = None
            unfinished = [job for job in self.jobs if not job.status.is_final]
            if progress and unfinished:
                async with shown(self.jobs):
                    await self._watch(unfinished)
            else:
                await self._watch(unfinished)
            if not others:
                return
            logger.info("the group %r: somebody else is sending %d programs", self._name, others)
            await anyio.sleep(OTHERS_PAUSE)

    def _note_trouble(self, error: SFJobsError) -> None:
        self._trouble = in_words(error)

    async def _watch(self, jobs: list[Job]) -> None:
        errors: list[SFJobsError] = []
        ended: list[Job] = []
        try:
            async with Completions(jobs, fetch_results=False) as completions:
                while (completion := await completions.advance()) is not None:
                    job, error = completion
                    if error is not None:
                        errors.append(error)
                    ended.append(job)
                    if len(ended) >= NOTED_AT_ONCE:
                        self._note(ended)
                        ended = []
        finally:
            self._note(ended)
        if errors:
            raise errors[0]

    def _note(self, jobs: Iterable[Job]) -> None:
        """Has the journal know how these have ended, so that nobody has to ask again."""
        keys = {member.job_id: member.key for member in self._current.values()}
        told = [(keys[job.id], job.status) for job in jobs if job.status.is_final and job.id in keys]
        if told:
            self._roll.note_statuses(told)

    def _job(self, member: GroupMember) -> Job:
        assert member.job_id is not None, "it was submitted"
        job = self._jobs.get(member.job_id)
        if job is None:
            job = self._jobs[member.job_id] = Job(member.job_id, member.status or JobStatus.OPEN, self._connection)
        return job

    def _status(self, member: GroupMember) -> JobStatus | None:
        """As last heard of, here or by whoever noted it."""
        job = self._jobs.get(member.job_id or "")
        return member.status if job is None else job.status

    def _too_late(self, timeout: float | None) -> WaitTimeoutError:
        jobs, trouble = (
            self.jobs,
            "" if self._trouble is None else f". The last try to send some failed: {self._trouble}",
        )
        done = tuple(job.id for job in jobs if job.status.is_final)
        return WaitTimeoutError(
            f"after {timeout:g} s {len(done)} of {len(self)} programs of the group {self._name!r} have ended; the jobs of"
            f" others go on{trouble}",
            done=done,
            pending=tuple(job.id for job in jobs if not job.status.is_final),
        )
