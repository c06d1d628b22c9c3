"""``JobGroup``: many jobs under a name, which any later program can continue, because the journal has them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Self, TypeVar

import anyio

from .._jobs.cancellation import request_cancel_all
from .._jobs.job import Job, state_of
from .._jobs.result_prefetch import fetch_results
from .._jobs.waiting import Completions
from .._journal import GroupMember, GroupTable, Intent
from .._progress import shown
from .._protocol.blackbird_template import Params
from .._submission.key_rotation import adopt_group
from .._submission.programs import ProgramLike
from .._submission.recovery import recover
from .._submission.types import Submission
from .._tracking.outages import retry_until_available
from .._tracking.types import in_words
from .._util.handles import Handle
from ..errors import ConfigurationError, InvalidJobOperationError, SFJobsError
from ..models import JobStatus
from .connection import Connection, internals
from .job_group_errors import timeout_error
from .job_group_members import GroupMembers
from .job_group_progress import GroupProgress
from .job_group_sender import send

if TYPE_CHECKING:
    from ..results import Result

logger = logging.getLogger("sfjobs")

T = TypeVar("T")

PROGRAMS_PER_COMMIT = 500
"""Programs that are added to the journal with one commit."""

STATUSES_PER_COMMIT = 100
"""Jobs that end before their statuses are written into the journal."""

OTHER_SENDERS_POLL_SECONDS = 1.0
"""Pause between two looks at the programs that another process is about to send."""


class JobGroup(Handle):
    """
    Programs and their jobs under a name, kept in the journal, so that any later program can continue them.

        group = await sfjobs.JobGroup.open("sweep-7", connection)
        await group.add_all("X8_01", [sfjobs.Submission(program, name=name) for name, program in sweep.items()])
        await group.wait(progress=True)  # sends what is not sent, and waits for all jobs
        results = await group.results()

    A program whose name is in the group is not added again: run the same lines again to continue the group. A group belongs
    to one platform and one account. Its rows stay in the journal until ``remove``.
    """

    __module__ = "sfjobs"
    _instead = "keep group.name for JobGroup.open(name, connection)"

    def __init__(self, name: str, connection: Connection) -> None:
        session = internals(connection)
        journal = session.journal.journal
        if journal is None:
            raise ConfigurationError(
                "A group of jobs needs the journal of submissions, which is off.\n"
                "Set SFJOBS_JOURNAL to on, or to the path of a file."
            )
        if not name or not name.isprintable():
            raise ValueError(f"the name of a group is one line of text, not {name[:100]!r}")
        self._name = name
        self._connection = connection
        self._session = session
        self._journal = journal
        self._table = GroupTable(journal, name, session.journal.url, session.journal.account)
        self._members = GroupMembers(self._table, connection)
        self._unnamed_before: set[str] = set()  # digests of the programs without a name when the group was opened
        self._unknown: set[str] = set()  # the keys that the latest recovery could not settle
        self._trouble: str | None = None
        self._refusals: dict[str, Exception] = {}  # of the latest sending, by key
        self._lock = anyio.Lock()

    @classmethod
    async def open(cls, name: str, connection: Connection, *, begin_anew: bool = False) -> Self:
        """
        Open the group of this name, or begin a new one.

        A group that was begun with another API key is found, too, when the platform shows the jobs of that key to this one.
        Only this check sends a request. When an earlier journal was damaged and set aside, the group may have been there, and
        its programs would be submitted a second time: ``begin_anew`` begins it all the same.

        Raises:
            ConfigurationError: the journal is off, or the group belongs to another API key.
            ValueError: ``name`` is not one line of text.
            JournalError: the journal cannot be read; or it has no such group, and an earlier one was set aside as damaged.
        """
        group = cls(name, connection)
        await group._load()
        if not len(group) and not begin_anew:
            group._table.check_nothing_is_lost()
        group._unnamed_before = {member.digest for member in group.members if member.name is None}
        return group

    @property
    def name(self) -> str:
        """The name of the group."""
        return self._name

    @property
    def connection(self) -> Connection:
        """The connection that the group uses."""
        return self._connection

    @property
    def members(self) -> list[GroupMember]:
        """Every program at its latest attempt, in the order in which they were added."""
        return self._members.latest

    @property
    def jobs(self) -> list[Job]:
        """The jobs of the latest attempts that the platform has, in the order of the programs."""
        return self._members.jobs

    @property
    def progress(self) -> GroupProgress:
        """Counts of the programs by how far they are, as known here; no request is sent."""
        return self._members.progress

    def attempts(self, index: int) -> list[GroupMember]:
        """
        Return all attempts at the program ``index`` (from 0), the first one first.

        Each ``follows`` the key of the attempt before.

        Raises:
            IndexError: the group has no such program.
        """
        found = self._members.attempts(index)
        if not found:
            raise IndexError(f"the group {self._name!r} has no program {index}")
        return found

    async def add(
        self,
        target: str,
        program: ProgramLike,
        *,
        shots: int | None = None,
        name: str | None = None,
        params: Params | None = None,
    ) -> GroupMember:
        """
        Add a program, and return once it is on disk.

        ``submit`` or ``wait`` sends it. A program whose ``name`` is in the group already is not added again.

        Raises:
            ValueError: the group has another program with this name; or the program has no name, and the group had the same
                program when it was opened.
            JournalError: the journal cannot be written.

        It also raises what ``Connection.program_text`` raises.
        """
        [member] = await self.add_all(target, [Submission(program, shots, name, params=params)])
        return member

    async def add_all(
        self, target: str, programs: Iterable[ProgramLike | Submission], *, shots: int | None = None
    ) -> list[GroupMember]:
        """
        Add many programs with few commits, as ``add`` does.

        Programs before an error stay added. ``shots`` is for those without ``shots`` of their own.
        """
        if isinstance(programs, str):
            raise TypeError("many programs are an iterable of programs, not one text: see add")
        found: list[GroupMember] = []
        batch: list[Intent] = []
        try:
            for program in programs:
                submission = program if isinstance(program, Submission) else Submission(program)
                batch.append(await self._intent(target, shots, submission))
                if len(batch) == PROGRAMS_PER_COMMIT:
                    full, batch = batch, []
                    found += await self._table.add(full, len(self))
        finally:
            if batch:
                found += await self._table.add(batch, len(self))
            await self._members.add(found)
        return found

    async def submit(self, *, window: int | None = None) -> GroupProgress:
        """
        Send what is not sent, and settle submissions without a response, as ``Connection.recover`` does.

        At most ``window`` jobs are unfinished at a time. By default only the platform bounds them: a 429 response makes it
        wait. A refused program does not stop the others. It may be cancelled at any moment and called again, also in another
        process; several callers at once send each program once, and do not wait for each other.

        Raises:
            AuthenticationError: the platform refuses the API key.
            TransportError: the platform cannot be reached.
            JournalError: the journal cannot be used.
        """
        await self._submit(window)
        return self.progress

    async def wait(self, timeout: float | None = None, *, progress: bool = False) -> GroupProgress:
        """
        Send what is not sent, and wait until every job of the group has ended.

        Failed jobs raise nothing. Programs that another process is about to send are waited for, too, and sent here if that
        process dies. Network failures, 429 and 5xx responses are retried until ``timeout`` (seconds), which cancels no job.
        With ``progress``, a line on stderr or in the notebook's cell shows how far the jobs are.

        It returns only when every program has been sent or refused, and every job has ended.

        Raises:
            WaitTimeoutError: a job has not ended after ``timeout`` seconds.
            SubmissionUnknownError: all others have ended, and the platform may or may not have the jobs of some programs. It
                cannot tell them from others: see ``Connection.recover``.
            ConfigurationError: a setting or a variable of the environment keeps every program from being sent.
            AuthenticationError: the platform refuses the API key.
            JournalError: the journal cannot be used.

        An error about one job, such as NotFoundError, is raised once all others have ended.
        """
        with anyio.move_on_after(timeout) as scope:
            await self._finish(progress=progress)
        if scope.cancelled_caught:
            raise timeout_error(self._name, self.jobs, len(self), timeout, self._trouble)
        return self.progress

    async def results(self) -> list[Result | None]:
        """
        Wait for all jobs and return the results in the order of the programs, None for each program without one.

        All results are in memory at once; iterate over ``jobs`` to fetch one after the other. Raises what ``wait`` raises, and
        the first error of a download once the others are done.
        """
        await self.wait()
        for error in (await fetch_results(self.jobs)).values():
            raise error
        results = {job.id: job.result for job in self.jobs if job.has_result}
        return [results.get(member.job_id or "") for member in self.members]

    async def rerun_failed(self, max_attempts: int = 3) -> int:
        """
        Submit the programs of failed jobs again, and return how many.

        Programs with ``max_attempts`` attempts are left out, and so are cancelled jobs and refused programs. Each attempt is a
        new job; ``attempts`` has the earlier ones. Raises what ``submit`` raises.

        Raises:
            ValueError: ``max_attempts`` is below 1.
        """
        if max_attempts < 1:
            raise ValueError(f"a program has at least one attempt, not {max_attempts}")
        self._members.note_final(self.jobs)  # as long as these attempts are the latest
        failed = [
            member.key
            for member in self.members
            if member.attempt < max_attempts and self._members.status(member) == JobStatus.FAILED
        ]
        if not failed:
            return 0
        added = await self._table.repeat(failed)
        await self.submit()
        return added

    async def cancel(self) -> GroupProgress:
        """
        Cancel all jobs that have not ended, and give up what is not sent.

        Submissions without a response are settled first, as ``Connection.recover`` does, so that no job of theirs goes on. A
        job that ends before its cancellation keeps its status. An error about one job is raised once the other cancellations
        are sent.
        """
        async with self._lock:
            await self._table.give_up()
            await self._settle()
            await self._load()
        try:
            errors = await request_cancel_all(map(state_of, self.jobs), until_available=False)
        finally:
            self._members.note_final(self.jobs)
        for error in errors.values():
            raise error
        return self.progress

    async def remove(self) -> None:
        """
        Remove the rows of the group from the journal; its jobs stay on the platform.

        Raises:
            InvalidJobOperationError: a program is yet to be sent, settled or waited for: ``cancel`` and ``wait`` first.
        """
        await self._load()
        progress = self.progress
        if not progress.is_over or not await self._table.remove():
            raise InvalidJobOperationError(
                f"the group {self._name!r} is not over: {progress.added} programs are yet to be sent, {progress.in_doubt} have no"
                f" response, {progress.unfinished} jobs are unfinished. Cancel the group and wait for it, or give up the"
                " submissions without a response: `sfjobs recover --give-up`"
            )
        self._members.clear()
        await self._load()

    def __len__(self) -> int:
        return len(self._members)

    def __repr__(self) -> str:
        return f"<JobGroup {self._name!r}: {len(self)} programs at {self._connection.settings.url}>"

    async def _load(self) -> None:
        await self._members.load()
        session = self._session
        if not len(self) and await adopt_group(session.journal, self._journal, session.api, self._name):
            await self._members.load()

    async def _intent(self, target: str, shots: int | None, submission: Submission) -> Intent:
        target = submission.target or target
        shots = shots if submission.shots is None else submission.shots
        request = await self._session.prepare(
            target, submission.program, shots, submission.name, submission.params, priority=submission.priority
        )
        intent = request.intent
        if submission.name is None and intent.digest in self._unnamed_before:
            raise ValueError(
                f"the group {self._name!r} had this program when it was opened, and a program without a name may be meant to run"
                " once more: leave out what the group has, or give each a name, as in Submission(program, name=...)"
            )
        return intent

    async def _submit(self, window: int | None = None) -> int:
        """Return how many programs are left to others: processes, or tasks of this one, that are about to send them."""
        async with self._lock:
            try:
                self._refusals = {}
                return await self._settle() + await send(self._table, self._connection, window, self._refusals)
            finally:
                with anyio.CancelScope(shield=True):
                    await self._load()

    async def _settle(self) -> int:
        session = self._session
        recovery = await recover(session.journal, session.submitter, session.api, group=self._name)
        self._unknown = {found.key for found in recovery.unknown}
        return recovery.under_way

    async def _finish(self, *, progress: bool) -> None:
        while True:
            left_to_others = await self._retry(self._submit)
            if self.progress.in_doubt:  # responses were lost just now, and these jobs are to be waited for as well
                left_to_others = await self._retry(self._submit)
            self._trouble = None
            self._members.note_final(self.jobs)  # also those that callers have waited for
            unfinished = [job for job in self.jobs if not job.status.is_final]
            async with shown(map(state_of, self.jobs)) if progress and unfinished else nullcontext():
                await self._watch(unfinished)
            if not left_to_others and not self.progress.unfinished and self._members.in_doubt <= self._unknown:
                if self.progress.is_over:
                    return
                self._members.check_all_sent(self._name, self._refusals)
            logger.info("group %r: another sender is about to send %d programs; waiting", self._name, left_to_others)
            await anyio.sleep(OTHER_SENDERS_POLL_SECONDS)

    async def _retry(self, call: Callable[[], Awaitable[T]]) -> T:
        def note(error: SFJobsError) -> None:
            self._trouble = in_words(error)

        return await retry_until_available(call, note, self._session.poller.interval)

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
                    if len(ended) >= STATUSES_PER_COMMIT:
                        self._members.note_final(ended)
                        ended = []
        finally:
            self._members.note_final(ended)
        await self._members.load()  # what is noted is on disk, and attempts of other processes are known
        if errors:
            raise errors[0]
