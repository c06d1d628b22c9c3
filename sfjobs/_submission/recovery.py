"""
What became of submissions that were sent and have no answer: ``Connection.recover`` settles those that the journal has open.

Where the platform honours idempotency keys, each is sent once more with its key and its body, byte for byte: the answer is the
job that there is, or the one that is made now. Elsewhere its job is looked for, among those of the same name and target that
were created about then, by its program; and what is not found is never sent again by itself, since a list without a job does
not prove that there will be none.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal, TypeAlias

import anyio

from .._http.api import MAX_PAGE_SIZE, PlatformAPI
from .._journal import Journal, JournalEntry, JournalSession, State, SubmissionOutcome, fate_after
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
from .submitter import SubmissionRequest, Submitter

KEY_LIFETIME = 23 * 3600.0
"""Seconds for which a key is relied on: a platform remembers it for at least 24 hours, by a clock that is not ours."""

CLOCKS_APART = 600.0
"""Seconds by which the platform's clock may differ from this machine's."""

MOST_JOBS = 5_000
"""Jobs looked through, newest first, for those of one recovery."""

WIDTH = 16
"""Submissions settled side by side."""

Outcome: TypeAlias = Literal["submitted", "refused", "unknown", "given up"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """
    What became of one submission. ``submitted``: the platform has it, as ``job_id``; ``refused``, ``unknown`` and ``given up``
    come with the ``reason``. Unknown ones are asked about again by the next recovery.
    """

    key: str
    outcome: Outcome
    target: str
    name: str | None
    group: str | None
    opened_at: datetime
    job_id: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """
    What ``Connection.recover`` has found out. ``under_way`` is how many more submissions a living process has on its way,
    ``of_other_accounts`` how many belong to API keys of other accounts: neither are touched. ``set_aside`` are files
    of the journal that were found damaged; what they held open, nobody knows any more.
    """

    outcomes: tuple[Recovered, ...] = ()
    under_way: int = 0
    of_other_accounts: int = 0
    set_aside: tuple[str, ...] = ()

    @property
    def submitted(self) -> tuple[Recovered, ...]:
        """Those that the platform has."""
        return self._that_are("submitted")

    @property
    def refused(self) -> tuple[Recovered, ...]:
        return self._that_are("refused")

    @property
    def unknown(self) -> tuple[Recovered, ...]:
        """Those of which nobody knows yet."""
        return self._that_are("unknown")

    def _that_are(self, outcome: Outcome) -> tuple[Recovered, ...]:
        return tuple(found for found in self.outcomes if found.outcome == outcome)


async def recover(
    record: JournalSession, submitter: Submitter, api: PlatformAPI, *, give_up: bool = False, group: str | None = None
) -> Recovery:
    """
    Settles what the journal has open for this platform and account, or for one group there. With ``give_up`` what stays
    unknown is closed as given up. Raises what lets nobody be asked, such as TransportError, and leaves open what was not
    settled by then.
    """
    journal = record.journal
    if journal is None:
        return Recovery()
    if group is None:  # whoever opens one has done so
        for other in await journal.other_accounts(record.url, record.account):
            await adopt(record, journal, api, other)
    entries, under_way, of_others = await journal.claim(record.url, record.account, group)
    fates = {entry.key: SubmissionOutcome(key=entry.key, state=State.OPEN, reason=entry.reason) for entry in entries}
    try:
        await _Settling(journal, record, submitter, api, fates).settle(entries)
        if give_up:
            fates = {key: _given_up(fate) for key, fate in fates.items()}
    finally:
        # Also when that was cut short: what is still open is nobody's again.
        journal.close(fates.values())
    await record.flush()
    return Recovery(
        outcomes=tuple(_recovered(entry, fates[entry.key]) for entry in entries),
        under_way=under_way,
        of_other_accounts=of_others,
        set_aside=tuple(journal.set_aside),
    )


class _Settling:
    """One recovery at work; what it finds out goes into ``fates``."""

    def __init__(
        self,
        journal: Journal,
        record: JournalSession,
        submitter: Submitter,
        api: PlatformAPI,
        fates: dict[str, SubmissionOutcome],
    ) -> None:
        self._journal = journal
        self._record = record
        self._submitter = submitter
        self._api = api
        self._fates = fates
        self._limiter = anyio.CapacityLimiter(WIDTH)

    async def settle(self, entries: Sequence[JournalEntry]) -> None:
        if not entries:
            return
        async with plain_task_group() as group:
            for entry in await self._with_reliable_keys(entries):
                group.start_soon(self._send_again, entry)
        rest = [entry for entry in entries if not self._fates[entry.key].state.is_closed]
        if rest and self._api.settings.api_version == "0.2.0":
            reason = "this version of the protocol has no list of jobs to look in"
            self._fates.update({entry.key: _unknown(entry, reason) for entry in rest})
        elif rest:
            await self._look_for(rest)

    async def _with_reliable_keys(self, entries: Sequence[JournalEntry]) -> list[JournalEntry]:
        now = time.time()
        honoured_at = now if self._submitter.honours_keys else await self._journal.honoured_keys_at(self._record.url)
        if honoured_at is None:
            return []
        return [
            entry
            for entry in entries
            if entry.body is not None and max(now, honoured_at) - min(entry.opened_at, honoured_at) < KEY_LIFETIME
        ]

    async def _send_again(self, entry: JournalEntry) -> None:
        body = entry.body or b""
        order = SubmissionRequest(entry.target, entry.shots, entry.name, entry.key, body, maybe_delivered=True)
        async with self._limiter:
            try:
                snapshot = await self._submitter.submit(order, idempotent=True)
            except (ResponseError, ProtocolError, SubmissionUnknownError) as error:
                if isinstance(error, AuthenticationError | PermissionDeniedError):
                    raise
                self._fates[entry.key] = fate_after(error, entry.key, was_out=True, in_doubt=True)
            else:
                self._fates[entry.key] = SubmissionOutcome(key=entry.key, state=State.SUBMITTED, job_id=snapshot.id)

    async def _look_for(self, entries: Sequence[JournalEntry]) -> None:
        alike: dict[_Look, list[JournalEntry]] = defaultdict(list)
        for entry in entries:
            alike[entry.target, entry.name, _program(entry)].append(entry)
        earliest = datetime.fromtimestamp(min(entry.opened_at for entry in entries) - CLOCKS_APART, UTC)
        jobs = await self._jobs_since(earliest, {(target, name) for target, name, _ in alike})
        looks = await self._looks(jobs)
        for look, its_entries in alike.items():
            # Oldest first, as they were submitted.
            self._match(its_entries, [job.id for job in reversed(jobs) if looks.get(job.id) == look])

    def _match(self, entries: Sequence[JournalEntry], job_ids: Sequence[str]) -> None:
        """Entries and jobs that look the same. Any may be any other's, as long as there are not more jobs than entries."""
        if len(job_ids) > len(entries):
            some = f"{', '.join(job_ids[:5])}{', and more' * (len(job_ids) > 5)}"
            self._fates.update({entry.key: _unknown(entry, f"several jobs look like it: {some}") for entry in entries})
            return
        for entry, job_id in zip(entries, job_ids, strict=False):
            self._fates[entry.key] = SubmissionOutcome(key=entry.key, state=State.SUBMITTED, job_id=job_id)
        for entry in entries[len(job_ids) :]:
            self._fates[entry.key] = _unknown(entry, "the platform lists no such job, and may have it all the same")

    async def _jobs_since(self, earliest: datetime, wanted: Collection[tuple[str, str | None]]) -> list[JobSnapshot]:
        """Newest first, and only those that no submission is known to have become."""
        found: list[JobSnapshot] = []
        seen = 0
        async with aclosing(self._api.job_pages(size=MAX_PAGE_SIZE)) as pages:
            async for page in pages:
                seen += len(page)
                recent = [job for job in page if job.created_at is None or job.created_at >= earliest]
                found += [job for job in recent if (job.target or "", job.name) in wanted]
                if seen >= MOST_JOBS or len(recent) < len(page):
                    break
        known = await self._journal.known_jobs(job.id for job in found)
        return [job for job in found if job.id not in known]

    async def _looks(self, jobs: Sequence[JobSnapshot]) -> dict[str, _Look]:
        looks: dict[str, _Look] = {}

        async def look_at(job: JobSnapshot) -> None:
            async with self._limiter:
                with suppress(NotFoundError):
                    looks[job.id] = (job.target or "", job.name, _digest(await self._api.circuit(job.id)))

        async with plain_task_group() as group:
            for job in jobs:
                group.start_soon(look_at, job)
        return looks


_Look: TypeAlias = tuple[str, str | None, str]
"""Target, name and digest of the program: all by which a job can be told from others without a key."""


def _program(entry: JournalEntry) -> str:
    return _digest(str(json.loads(entry.body or b"{}").get("circuit", "")))


def _digest(circuit: str) -> str:
    return sha256(circuit.encode("utf-8", "surrogatepass")).hexdigest()


def _unknown(entry: JournalEntry, reason: str) -> SubmissionOutcome:
    return SubmissionOutcome(key=entry.key, state=State.OPEN, reason=reason)


def _given_up(fate: SubmissionOutcome) -> SubmissionOutcome:
    return (
        SubmissionOutcome(key=fate.key, state=State.GIVEN_UP, reason=fate.reason) if fate.state == State.OPEN else fate
    )


def _recovered(entry: JournalEntry, fate: SubmissionOutcome) -> Recovered:
    outcomes: dict[State, Outcome] = {
        State.SUBMITTED: "submitted",
        State.REFUSED: "refused",
        State.GIVEN_UP: "given up",
    }
    return Recovered(
        key=entry.key,
        outcome=outcomes.get(fate.state, "unknown"),
        target=entry.target,
        name=entry.name,
        group=entry.group,
        opened_at=datetime.fromtimestamp(entry.opened_at, UTC),
        job_id=fate.job_id,
        reason=fate.reason,
    )
