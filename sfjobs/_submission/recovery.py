"""
Finds the outcome of submissions that were sent and have no reply, for ``Connection.recover``.

Where the platform honours idempotency keys, each is sent once more with its key and the same body: the response is the existing
job, or one that is made now. Elsewhere nothing that the platform gives back carries the key. The submission stays unknown, with
the ``candidates`` that it may have become, until a person adopts one. It is never sent again: a list without a job does not prove
that the job will never appear.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import anyio

from .._http.api import PlatformAPI
from .._journal import Journal, JournalEntry, JournalSession, State, SubmissionOutcome
from .._util.aio import plain_task_group
from ..errors import (
    AuthenticationError,
    JournalError,
    PermissionDeniedError,
    ProtocolError,
    ResponseError,
    SubmissionUnknownError,
)
from .candidates import candidates, check_adoptions, unknown_reason
from .key_rotation import adopt as adopt_account
from .submitter import SubmissionRequest, Submitter, outcome_of

KEY_LIFETIME_SECONDS = 23 * 3600.0
"""How long a key is relied on: a platform remembers it for at least 24 hours, by its own clock."""

MAX_CLOCK_DIFFERENCE_SECONDS = 600.0
"""Between the clock in the platform's ``Date`` headers and the one of its jobs."""

MAX_UNKNOWN_CLOCK_DIFFERENCE_SECONDS = 26 * 3600.0
"""Between this machine's clock and one that the platform does not show: all time zones."""

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
    ``unknown`` are tried again by the next recovery. ``candidates`` are the ids of the jobs that an unknown one may be, oldest
    first: ``Connection.recover(adopt={key: job_id})`` says which it is.
    """

    key: str
    outcome: RecoveryOutcome
    target: str
    name: str | None
    group: str | None
    opened_at: datetime
    job_id: str | None = None
    reason: str | None = None
    candidates: tuple[str, ...] = ()


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
        """Submissions that the platform refused."""
        return self._with("refused")

    @property
    def unknown(self) -> tuple[Recovered, ...]:
        """The submissions whose outcome is still unknown."""
        return self._with("unknown")

    def _with(self, outcome: RecoveryOutcome) -> tuple[Recovered, ...]:
        return tuple(found for found in self.outcomes if found.outcome == outcome)


async def recover(
    session: JournalSession,
    submitter: Submitter,
    api: PlatformAPI,
    *,
    give_up: bool = False,
    adopt: Mapping[str, str] | None = None,
    group: str | None = None,
) -> Recovery:
    """
    Settle the open submissions of this platform and account, or of one of its groups.

    ``adopt`` has the jobs of some of them, by key, as a person has decided. With ``give_up`` those that stay unknown are closed
    as given up. An error with which the platform cannot be asked, such as TransportError, is raised and leaves the unsettled ones
    open.
    """
    try:
        journal = session.journal
        # Opening a group does this.
        others = [] if journal is None or group else await journal.other_accounts(session.url, session.account)
    except JournalError as error:
        if adopt or group or not session.has_nothing(error):
            raise
        return Recovery()
    if journal is None:
        if adopt:
            raise ValueError("the journal of submissions is off: it has nothing that could adopt a job")
        return Recovery()
    for other in others:
        await adopt_account(session, journal, api, other)
    of_other_accounts = await journal.count_open_of_others(session.url, session.account)
    entries, under_way = await journal.claim(session.url, session.account, group)
    run = _RecoveryRun(journal, session, submitter, api, entries)
    try:
        await run.adopt(adopt or {})
        await run.settle()
        if give_up:
            run.give_up()
    finally:
        # Also after an error: those that are still open can be claimed again.
        journal.close(run.outcomes.values())
    await session.flush()
    return Recovery(
        outcomes=tuple(
            _recovered(entry, run.outcomes[entry.key], run.candidates.get(entry.key, ())) for entry in entries
        ),
        under_way=under_way,
        of_other_accounts=of_other_accounts,
        set_aside=tuple(journal.damaged_files),
    )


@dataclass(slots=True)
class _RecoveryRun:
    """One recovery. ``outcomes`` and ``candidates`` are by key; at first all entries are open."""

    _journal: Journal
    _session: JournalSession
    _submitter: Submitter
    _api: PlatformAPI
    _entries: Sequence[JournalEntry]
    _limiter: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(MAX_CONCURRENT_REQUESTS))
    outcomes: dict[str, SubmissionOutcome] = field(default_factory=dict)
    candidates: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for entry in self._entries:
            self._leave_open(entry, entry.reason)

    async def adopt(self, jobs: Mapping[str, str]) -> None:
        """Take these jobs, by key, for the entries' own. Raises what ``check_adoptions`` raises, and takes none."""
        if jobs:
            await check_adoptions(jobs, {entry.key: entry for entry in self._entries}, self._journal, self._api)
        for key, job_id in jobs.items():
            self.outcomes[key] = SubmissionOutcome(key=key, state=State.SUBMITTED, job_id=job_id)

    async def settle(self) -> None:
        if not self._open_entries():
            return
        await self._learn_clock()
        async with plain_task_group() as group:
            for entry in await self._with_reliable_keys():
                group.start_soon(self._send_again, entry)
        rest = self._open_entries()
        if rest and self._api.settings.api_version == "0.2.0":
            for entry in rest:
                self._leave_open(entry, "this version of the protocol has no list of jobs to search")
        elif rest:
            await self._search(rest)

    def _open_entries(self) -> list[JournalEntry]:
        return [entry for entry in self._entries if self.outcomes[entry.key].state == State.OPEN]

    def give_up(self) -> None:
        """Close those that are still open."""
        for key, outcome in self.outcomes.items():
            if outcome.state == State.OPEN:
                self.outcomes[key] = replace(outcome, state=State.GIVEN_UP)

    async def _with_reliable_keys(self) -> list[JournalEntry]:
        now = self._api.clock.now()
        honours_keys = self._submitter.capabilities.honours_keys
        honoured_at = now if honours_keys else await self._journal.keys_honoured_at(self._session.url)
        if honoured_at is None:
            return []
        return [
            entry
            for entry in self._open_entries()
            if entry.intent.body
            and max(now, honoured_at) - min(self._opened_at(entry), honoured_at) < KEY_LIFETIME_SECONDS
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
        """Name the jobs that the entries may have become. None is taken for ours: another machine may have submitted it."""
        is_known = self._api.clock.offset is not None
        margin = MAX_CLOCK_DIFFERENCE_SECONDS if is_known else MAX_UNKNOWN_CLOCK_DIFFERENCE_SECONDS
        earliest = min(map(self._opened_at, entries)) - margin
        found = await candidates(entries, earliest, self._journal, self._api, self._limiter)
        for entry in entries:
            self.candidates[entry.key] = found[entry.key]
            self._leave_open(entry, unknown_reason(entry.key, found[entry.key]))

    async def _learn_clock(self) -> None:
        """Any answer shows the platform's clock."""
        if self._api.clock.offset is None:
            try:
                await self._api.ping()
            except (ResponseError, ProtocolError) as error:
                if isinstance(error, AuthenticationError | PermissionDeniedError):
                    raise

    def _opened_at(self, entry: JournalEntry) -> float:
        """When it was first sent, on the platform's clock."""
        return entry.opened_at + (entry.clock if entry.clock is not None else self._api.clock.offset or 0.0)

    def _leave_open(self, entry: JournalEntry, reason: str | None) -> None:
        self.outcomes[entry.key] = SubmissionOutcome(key=entry.key, state=State.OPEN, reason=reason)


def _recovered(entry: JournalEntry, outcome: SubmissionOutcome, found: tuple[str, ...]) -> Recovered:
    return Recovered(
        key=entry.key,
        outcome=_OUTCOMES.get(outcome.state, "unknown"),
        target=entry.intent.target,
        name=entry.intent.name,
        group=entry.group,
        opened_at=datetime.fromtimestamp(entry.opened_at, UTC),
        job_id=outcome.job_id,
        reason=outcome.reason,
        candidates=found if outcome.state == State.OPEN else (),
    )
