"""
Finds the outcome of submissions that were sent and have no reply, for ``Connection.recover``.

Where the platform honours idempotency keys, each is sent once more with its key and the same body: the response is the existing
job, or one that is made now. Elsewhere its job is searched for among the jobs of the same name and target that were created at
about that time, and recognised by its program. A submission that is not found is never sent again: a list without a job does not
prove that the job will never appear.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal, TypeAlias

import anyio

from .._http.api import LARGEST_PAGE, PlatformAPI
from .._journal import Journal, JournalEntry, JournalSession, State, SubmissionOutcome
from .._util.aio import plain_task_group
from ..errors import (
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    ResponseError,
    SubmissionUnknownError,
)
from ..models import JobSnapshot
from .key_rotation import adopt
from .submitter import SubmissionRequest, Submitter, outcome_of

KEY_LIFETIME_SECONDS = 23 * 3600.0
"""How long a key is relied on: a platform remembers it for at least 24 hours, by its own clock."""

MAX_CLOCK_DIFFERENCE_SECONDS = 600.0
"""Between the platform's clock and this machine's."""

MAX_JOBS_SEARCHED = 5_000
"""Jobs read in one recovery, newest first."""

MAX_CONCURRENT_REQUESTS = 16

RecoveryOutcome: TypeAlias = Literal["submitted", "refused", "unknown", "given up"]

_OUTCOMES: dict[State, RecoveryOutcome] = {
    State.SUBMITTED: "submitted",
    State.REFUSED: "refused",
    State.GIVEN_UP: "given up",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """
    The outcome of one submission. ``submitted``: the platform has it, as ``job_id``. The others have a ``reason``; those that are
    ``unknown`` are tried again by the next recovery.
    """

    key: str
    outcome: RecoveryOutcome
    target: str
    name: str | None
    group: str | None
    opened_at: datetime
    job_id: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """
    The result of ``Connection.recover``.

    ``under_way`` counts the submissions that a living process is sending, ``of_other_accounts`` those of other accounts; neither
    are touched. ``set_aside`` are journal files that were found damaged; the open submissions in them are lost.
    """

    outcomes: tuple[Recovered, ...] = ()
    under_way: int = 0
    of_other_accounts: int = 0
    set_aside: tuple[str, ...] = ()

    @property
    def submitted(self) -> tuple[Recovered, ...]:
        """The submissions that the platform has."""
        return self._with("submitted")

    @property
    def refused(self) -> tuple[Recovered, ...]:
        return self._with("refused")

    @property
    def unknown(self) -> tuple[Recovered, ...]:
        """The submissions whose outcome is still unknown."""
        return self._with("unknown")

    def _with(self, outcome: RecoveryOutcome) -> tuple[Recovered, ...]:
        return tuple(found for found in self.outcomes if found.outcome == outcome)


async def recover(
    session: JournalSession, submitter: Submitter, api: PlatformAPI, *, give_up: bool = False, group: str | None = None
) -> Recovery:
    """
    Settle the open submissions of this platform and account, or of one of its groups.

    With ``give_up`` those that stay unknown are closed as given up. An error with which the platform cannot be asked, such as
    TransportError, is raised and leaves the unsettled ones open.
    """
    journal = session.journal
    if journal is None:
        return Recovery()
    if group is None:  # opening a group does this
        for other in await journal.other_accounts(session.url, session.account):
            await adopt(session, journal, api, other)
    of_other_accounts = await journal.count_open_of_others(session.url, session.account)
    entries, under_way = await journal.claim(session.url, session.account, group)
    run = _RecoveryRun(journal, session, submitter, api, entries)
    try:
        await run.settle()
        if give_up:
            run.give_up()
    finally:
        # Also after an error: those that are still open can be claimed again.
        journal.close(run.outcomes.values())
    await session.flush()
    return Recovery(
        outcomes=tuple(_recovered(entry, run.outcomes[entry.key]) for entry in entries),
        under_way=under_way,
        of_other_accounts=of_other_accounts,
        set_aside=tuple(journal.damaged_files),
    )


_Traits: TypeAlias = tuple[str, str | None, str]
"""Target, name and digest of the program: what a job is recognised by without a key."""


@dataclass(slots=True)
class _RecoveryRun:
    """One recovery. ``outcomes`` has an outcome for each entry, by key; at first all are open."""

    _journal: Journal
    _session: JournalSession
    _submitter: Submitter
    _api: PlatformAPI
    _entries: Sequence[JournalEntry]
    _limiter: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(MAX_CONCURRENT_REQUESTS))
    outcomes: dict[str, SubmissionOutcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for entry in self._entries:
            self._leave_open(entry, entry.reason)

    async def settle(self) -> None:
        if not self._entries:
            return
        async with plain_task_group() as group:
            for entry in await self._with_reliable_keys():
                group.start_soon(self._send_again, entry)
        rest = [entry for entry in self._entries if self.outcomes[entry.key].state == State.OPEN]
        if rest and self._api.settings.api_version == "0.2.0":
            for entry in rest:
                self._leave_open(entry, "this version of the protocol has no list of jobs to search")
        elif rest:
            await self._search(rest)

    def give_up(self) -> None:
        """Close those that are still open."""
        for key, outcome in self.outcomes.items():
            if outcome.state == State.OPEN:
                self.outcomes[key] = replace(outcome, state=State.GIVEN_UP)

    async def _with_reliable_keys(self) -> list[JournalEntry]:
        now = time.time()
        honours_keys = self._submitter.capabilities.honours_keys
        honoured_at = now if honours_keys else await self._journal.keys_honoured_at(self._session.url)
        if honoured_at is None:
            return []
        return [
            entry
            for entry in self._entries
            if entry.intent.body and max(now, honoured_at) - min(entry.opened_at, honoured_at) < KEY_LIFETIME_SECONDS
        ]

    async def _send_again(self, entry: JournalEntry) -> None:
        request = SubmissionRequest(entry.intent, maybe_delivered=True)
        async with self._limiter:
            try:
                snapshot = await self._submitter.submit(request, idempotent=True)
            except (ResponseError, ProtocolError, SubmissionUnknownError) as error:
                if isinstance(error, AuthenticationError | PermissionDeniedError):
                    raise
                self.outcomes[entry.key] = outcome_of(request, error)
            else:
                self.outcomes[entry.key] = outcome_of(request, snapshot)

    async def _search(self, entries: Sequence[JournalEntry]) -> None:
        alike: dict[_Traits, list[JournalEntry]] = defaultdict(list)
        for entry in entries:
            circuit = str(json.loads(entry.intent.body or b"{}").get("circuit", ""))
            alike[entry.intent.target, entry.intent.name, _digest(circuit)].append(entry)
        earliest = min(entry.opened_at for entry in entries) - MAX_CLOCK_DIFFERENCE_SECONDS
        jobs = await self._jobs_since(
            datetime.fromtimestamp(earliest, UTC), {(target, name) for target, name, _ in alike}
        )
        traits = await self._traits(jobs)
        for its_traits, its_entries in alike.items():
            # Oldest first, as they were submitted.
            self._match(its_entries, [job.id for job in reversed(jobs) if traits.get(job.id) == its_traits])

    def _match(self, entries: Sequence[JournalEntry], job_ids: Sequence[str]) -> None:
        """Match entries and jobs with the same traits. They are interchangeable unless there are more jobs than entries."""
        if len(job_ids) > len(entries):
            some = f"{', '.join(job_ids[:5])}{', and more' * (len(job_ids) > 5)}"
            for entry in entries:
                self._leave_open(entry, f"several jobs look like it: {some}")
            return
        for entry, job_id in zip(entries, job_ids, strict=False):
            self.outcomes[entry.key] = SubmissionOutcome(key=entry.key, state=State.SUBMITTED, job_id=job_id)
        for entry in entries[len(job_ids) :]:
            self._leave_open(entry, "the platform lists no such job, but may have it")

    async def _jobs_since(self, earliest: datetime, wanted: Collection[tuple[str, str | None]]) -> list[JobSnapshot]:
        """Return the jobs with these targets and names, newest first, without those of other submissions in the journal."""
        found: list[JobSnapshot] = []
        searched = 0
        async with aclosing(self._api.job_pages(size=LARGEST_PAGE)) as pages:
            async for page in pages:
                searched += len(page)
                recent = [job for job in page if job.created_at is None or job.created_at >= earliest]
                found += [job for job in recent if (job.target or "", job.name) in wanted]
                if searched >= MAX_JOBS_SEARCHED or len(recent) < len(page):
                    break
        known = await self._journal.known_jobs([job.id for job in found])
        return [job for job in found if job.id not in known]

    async def _traits(self, jobs: Sequence[JobSnapshot]) -> dict[str, _Traits]:
        traits: dict[str, _Traits] = {}

        async def fetch(job: JobSnapshot) -> None:
            async with self._limiter:
                with suppress(NotFoundError):
                    traits[job.id] = (job.target or "", job.name, _digest(await self._api.circuit(job.id)))

        async with plain_task_group() as group:
            for job in jobs:
                group.start_soon(fetch, job)
        return traits

    def _leave_open(self, entry: JournalEntry, reason: str | None) -> None:
        self.outcomes[entry.key] = SubmissionOutcome(key=entry.key, state=State.OPEN, reason=reason)


def _digest(circuit: str) -> str:
    return sha256(circuit.encode("utf-8", "surrogatepass")).hexdigest()


def _recovered(entry: JournalEntry, outcome: SubmissionOutcome) -> Recovered:
    return Recovered(
        key=entry.key,
        outcome=_OUTCOMES.get(outcome.state, "unknown"),
        target=entry.intent.target,
        name=entry.intent.name,
        group=entry.group,
        opened_at=datetime.fromtimestamp(entry.opened_at, UTC),
        job_id=outcome.job_id,
        reason=outcome.reason,
    )
