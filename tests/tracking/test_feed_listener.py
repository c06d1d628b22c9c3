"""
The leader's ear on streams that may be left at any moment, as the client's own connections give them: poller, feed and an
office that tells of what happens, in virtual time.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import anyio
import pytest

from sfjobs._protocol.wire import Known
from sfjobs._tracking.change_feed import SILENCE, ChangeFeed
from sfjobs._tracking.feed_listener import PACE
from sfjobs._tracking.poller import Poller
from sfjobs._tracking.types import StatusReport, Waiter
from sfjobs.errors import RateLimitedError, ResponseError
from sfjobs.models import Cursor, JobSnapshot, JobStatus

PATH = "/jobs/changes"
TRAVEL = 0.01


@dataclass(eq=False)
class Handle:
    """A job handle as the poller sees it."""

    id: str
    snapshot: JobSnapshot = field(init=False)
    first_seen: float | None = None
    asked_at: float | None = None
    cursor: Cursor | None = None

    def __post_init__(self) -> None:
        self.snapshot = JobSnapshot(id=self.id, status=JobStatus.QUEUED)

    def take(self, snapshot: JobSnapshot, at: float) -> None:
        self.asked_at = at
        assert not snapshot.is_behind(self.snapshot) or self.snapshot.status.is_final
        if not snapshot.is_behind(self.snapshot):
            self.snapshot = snapshot


class Wire:
    """A stream that loses nothing when a read of it is cancelled. ``dead`` ones say nothing more, not even that they ended."""

    is_resumable = True

    def __init__(self, office: Office) -> None:
        self._office = office
        self._ready = bytearray(b"retry: 1000\n\n")
        self._news = anyio.Event()
        self._news.set()
        self.is_dead = False
        self.has_ended = False
        office.wires.append(self)

    def put(self, piece: bytes) -> None:
        if not self.is_dead:
            self._ready += piece
            self._news.set()

    def end(self) -> None:
        self.has_ended = True
        self._news.set()

    async def read(self) -> bytes:
        self._office.reading += 1
        try:
            await anyio.sleep(TRAVEL)
            await self._news.wait()
        finally:
            self._office.reading -= 1
        piece = bytes(self._ready)
        self._ready.clear()
        if not self.has_ended:
            self._news = anyio.Event()
        self._office.reads += 1
        return piece

    async def aclose(self) -> None:
        if self in self._office.wires:
            self._office.wires.remove(self)


class Office:
    """Jobs that end when told, a list, and a feed. Everything that is asked for is counted."""

    batch = 100

    def __init__(self, ends: dict[str, float]) -> None:
        self.ends = ends
        self.over: list[str] = []  # in the order of their ending; the n-th change is the end of the n-th
        self.wires: list[Wire] = []
        self.asked = 0
        self.opened: list[int] = []
        self.reads = 0
        self.reading = 0
        self.refusal: ResponseError | None = None

    @property
    def many(self) -> Office:
        return self

    @property
    def single(self) -> Office:
        return self

    @property
    def cursor(self) -> Cursor:
        return Cursor(f"{PATH}?since=e.{len(self.over)}", "e", len(self.over))

    def handle(self, job_id: str) -> Handle:
        """As an answer of this moment would make it."""
        handle = Handle(job_id)
        handle.cursor = self.cursor
        if job_id in self.over:
            handle.snapshot = JobSnapshot(id=job_id, status=JobStatus.COMPLETED)
        return handle

    async def work(self) -> None:
        """Ends the jobs as their times come."""
        for job_id, end in sorted(self.ends.items(), key=lambda item: item[1]):
            await anyio.sleep_until(end)
            self.over.append(job_id)
            for wire in self.wires:
                wire.put(self._event(len(self.over)))

    async def beat(self) -> None:
        while True:
            await anyio.sleep(10)
            for wire in self.wires:
                wire.put(b":\n\n")

    async def ask(self, ids: Sequence[str], known: Known) -> StatusReport:
        self.asked += 1
        cursor = self.cursor
        snapshots = {job_id: self._snapshot(job_id) for job_id in ids}
        await anyio.sleep(TRAVEL)
        return StatusReport(snapshots, cursor)

    async def open_stream(self, path: str, last_event_id: str | None) -> Wire:
        await anyio.sleep(TRAVEL)
        if self.refusal is not None:
            raise self.refusal
        since = int((last_event_id or path).rpartition(".")[2])
        self.opened.append(since)
        wire = Wire(self)
        for change in range(since + 1, len(self.over) + 1):
            wire.put(self._event(change))
        return wire

    def _snapshot(self, job_id: str) -> JobSnapshot:
        return JobSnapshot(id=job_id, status=JobStatus.COMPLETED if job_id in self.over else JobStatus.QUEUED)

    def _event(self, change: int) -> bytes:
        job = json.dumps({"id": self.over[change - 1], "status": "complete"})
        return f"event: job\nid: e.{change}\ndata: {job}\n\n".encode()


def poller_for(office: Office, seed: int = 1) -> Poller:
    return Poller(office, ChangeFeed(office.open_stream), draw=random.Random(seed).random)


async def settle(poller: Poller, handles: Sequence[Handle], need: int | None = None) -> Waiter:
    waiter = poller.join(handles)
    try:
        await poller.wait_for(waiter, need)
    finally:
        poller.leave(waiter)
    return waiter


async def served(office: Office, poller: Poller, work: Callable[[], object]) -> None:
    """``work``, a coroutine function, while the office is at work."""
    async with anyio.create_task_group() as group:
        group.start_soon(office.work)
        group.start_soon(office.beat)
        await work()  # type: ignore[misc]
        group.cancel_scope.cancel()


async def test_waiters_that_come_and_go_share_one_stream_and_ask_nothing() -> None:
    office = Office({f"job-{n}": 5.0 + n / 10 for n in range(500)})
    poller = poller_for(office)
    draw = random.Random(3)
    finished = 0

    async def impatient() -> None:
        """As a web service has them: leaders that are cancelled all the time."""
        while len(office.over) < 500:
            with anyio.move_on_after(draw.uniform(0, 0.3)):
                await settle(poller, [office.handle(draw.choice(list(office.ends)))])

    async def patient(job_id: str) -> None:
        nonlocal finished
        await settle(poller, [office.handle(job_id)])
        assert anyio.current_time() <= office.ends[job_id] + PACE + 3 * TRAVEL
        finished += 1

    async def work() -> None:
        async with anyio.create_task_group() as group:
            for job_id in office.ends:
                group.start_soon(patient, job_id)
            for _ in range(5):
                group.start_soon(impatient)

    await served(office, poller, work)
    assert finished == 500
    assert office.opened == [0]
    assert office.asked == 0
    assert poller.is_idle
    assert office.reading == 0


async def test_a_crowd_of_changes_is_heard_in_few_reads_and_one_alone_at_once() -> None:
    office = Office({f"job-{n}": 5.0 + n / 1000 for n in range(2000)} | {"alone": 60.0})
    poller = poller_for(office)

    async def work() -> None:
        waiter = poller.join([office.handle(job_id) for job_id in office.ends])
        await poller.wait_for(waiter)
        assert anyio.current_time() <= 60.0 + 1e-6
        poller.leave(waiter)

    await served(office, poller, work)
    assert office.reads <= 2 / (PACE + TRAVEL) + 20


async def test_a_stream_that_falls_silent_is_lost_and_list_polling_takes_over() -> None:
    office = Office({"early": 3.0, "late": 50.0})
    poller = poller_for(office)

    async def work() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(settle, poller, [office.handle("late")])
            await anyio.sleep(1)
            office.wires[0].is_dead = True
            await settle(poller, [office.handle("early")])
            assert SILENCE <= anyio.current_time() <= 1 + SILENCE + 0.6 + 3 * TRAVEL

    await served(office, poller, work)
    assert anyio.current_time() <= 50 + 3 * TRAVEL
    assert len(office.opened) == 2


async def test_a_stream_that_is_refused_leaves_list_polling() -> None:
    office = Office({"a": 20.0})
    office.refusal = RateLimitedError("not now", status_code=429, retry_after=30.0)
    poller = poller_for(office)

    async def work() -> None:
        await settle(poller, [office.handle("a")])

    await served(office, poller, work)
    assert anyio.current_time() <= 20 + 2.2 + 3 * TRAVEL
    assert office.opened == []


async def test_a_newcomer_that_the_feed_cannot_know_is_asked_about_while_the_stream_goes_on() -> None:
    office = Office({"old": 300.0, "new": 3.0})
    poller = poller_for(office)

    async def work() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(settle, poller, [office.handle("old")])
            await anyio.sleep(10)
            await settle(poller, [Handle("new")])
            assert anyio.current_time() <= 10 + 0.6 + 3 * TRAVEL
            group.cancel_scope.cancel()

    await served(office, poller, work)
    assert office.asked == 1
    assert office.opened == [0]


async def test_jobs_that_were_submitted_one_after_another_are_all_told_of_by_one_stream() -> None:
    """Each handle stands at another place of the feed: the stream has to begin at the first of them."""
    office = Office({"first": 1.0, "second": 2.0, "third": 30.0})
    poller = poller_for(office)

    async def work() -> None:
        handles = []
        for job_id in office.ends:
            handles.append(office.handle(job_id))
            await anyio.sleep(1.5)
        await settle(poller, handles)

    await served(office, poller, work)
    assert office.opened == [0]
    assert office.asked == 0


async def test_a_job_that_has_not_changed_while_others_did_is_not_asked_about() -> None:
    office = Office({f"job-{n}": 2.0 + n for n in range(10)} | {"mine": 100.0})
    poller = poller_for(office)

    async def work() -> None:
        async with anyio.create_task_group() as group:
            mine = office.handle("mine")
            group.start_soon(settle, poller, [office.handle(f"job-{n}") for n in range(10)])
            await anyio.sleep(5)
            await settle(poller, [mine])

    await served(office, poller, work)
    assert office.asked == 0


async def test_a_wait_that_was_cut_before_anything_was_known_of_the_job_knows_nothing_the_next_time() -> None:
    office = Office({"old": 300.0, "mine": 1.0})
    poller = poller_for(office)

    async def work() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(settle, poller, [office.handle("old")])
            await anyio.sleep(5)
            mine = Handle("mine")
            with anyio.move_on_after(0.005):
                await settle(poller, [mine])
            await settle(poller, [mine])
            assert anyio.current_time() < 7
            group.cancel_scope.cancel()

    await served(office, poller, work)


async def test_a_stream_that_died_while_nobody_listened_is_not_listened_to() -> None:
    office = Office({"a": 3.0, "b": 60.0})
    poller = poller_for(office)

    async def work() -> None:
        await settle(poller, [office.handle("a")])
        handle = office.handle("b")
        office.wires[0].is_dead = True
        await anyio.sleep_until(100)
        await settle(poller, [handle])
        assert anyio.current_time() < 101

    await served(office, poller, work)
    assert office.asked == 0
    assert office.opened == [0, 1]


@pytest.mark.parametrize("seed", range(150))
async def test_whatever_happens_every_patient_waiter_hears_and_nothing_is_left(seed: int) -> None:
    draw = random.Random(seed)
    office = Office({f"job-{n}": draw.uniform(0, 60) for n in range(draw.randint(1, 80))})
    poller = poller_for(office, seed)
    heard: dict[str, float] = {}
    patient: set[str] = set()

    async def wait(job_id: str, start: float, patience: float | None, bare: bool) -> None:
        await anyio.sleep(start)
        began = anyio.current_time()
        handle = Handle(job_id) if bare else office.handle(job_id)
        await anyio.sleep(draw.choice([0.0, draw.uniform(0, 5)]))
        with anyio.move_on_after(patience):
            await settle(poller, [handle])
            assert handle.snapshot.status == JobStatus.COMPLETED
            heard[job_id] = anyio.current_time() - max(began, office.ends[job_id])

    async def disturb() -> None:
        while True:
            await anyio.sleep(draw.uniform(0.1, 15))
            wire = draw.choice(office.wires) if office.wires else None
            match draw.choice(["end", "die", "bye", "garbage", "refuse", "relent", "relent"]):
                case "end" if wire is not None:
                    wire.end()
                case "die" if wire is not None:
                    wire.is_dead = True
                case "bye" if wire is not None:
                    wire.put(b"event: bye\ndata: {}\n\n")
                case "garbage" if wire is not None:
                    wire.put(b"event: job\ndata: [\n\n")
                case "refuse":
                    office.refusal = ResponseError("no", status_code=draw.choice([404, 410, 500, 503]))
                case "relent":
                    office.refusal = None

    async def work() -> None:
        async with anyio.create_task_group() as disturbing:
            disturbing.start_soon(disturb)
            async with anyio.create_task_group() as group:
                for job_id in office.ends:
                    patience = draw.choice([None, draw.uniform(0, 20)])
                    if patience is None:
                        patient.add(job_id)
                    group.start_soon(wait, job_id, draw.uniform(0, 40), patience, draw.random() < 0.3)
            disturbing.cancel_scope.cancel()

    await served(office, poller, work)
    assert patient <= heard.keys()
    assert max(heard.values(), default=0.0) <= 5 + SILENCE + 10
    assert poller.is_idle
    assert office.reading == 0
    await poller.aclose()
    assert office.wires == []


async def test_a_bug_in_what_is_heard_reaches_every_waiter_without_a_group_around_it() -> None:
    office = Office({"a": 50.0, "b": 50.0})
    feed = ChangeFeed(office.open_stream)
    poller = Poller(office, feed, draw=lambda: 0.5)

    async def broken(ids: Sequence[str], known: Known) -> StatusReport:
        raise ZeroDivisionError("a bug")

    async def wait(job_id: str) -> None:
        with pytest.raises(ZeroDivisionError):
            await settle(poller, [office.handle(job_id)])

    async def work() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(wait, "a")
            group.start_soon(wait, "b")
            await anyio.sleep(1)
            feed.ask = broken  # type: ignore[method-assign]

    await served(office, poller, work)
    assert poller.is_idle
