"""A source of jobs with a change feed for tests of the poller, without HTTP, and the steps of a wait."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence

import anyio

from sfjobs._protocol.wire import Known
from sfjobs._tracking.change_feed import ChangeFeed
from sfjobs._tracking.poller import Poller
from sfjobs._tracking.types import PollInterval, StatusReport, Waiter
from sfjobs.errors import ResponseError
from sfjobs.models import Cursor, JobSnapshot, JobStatus
from tests.support.handles import Handle

PATH = "/jobs/changes"
LATENCY = 0.01
"""Seconds for an answer, and for what a stream sends."""


class FakeStream:
    """
    A stream that loses nothing when a read is cancelled, unless it is not resumable. A dead one sends nothing more, and does not
    end.
    """

    def __init__(self, source: FeedSource) -> None:
        self._source = source
        self.is_resumable = source.is_resumable
        self._ready = bytearray(b"retry: 1000\n\n")
        self._has_data = anyio.Event()
        self._has_data.set()
        self.is_dead = False
        self.has_ended = False
        source.streams.append(self)

    def put(self, piece: bytes) -> None:
        if not self.is_dead:
            self._ready += piece
            self._has_data.set()

    def clear(self) -> None:
        """Lose what was not read."""
        self._ready.clear()

    def end(self) -> None:
        self.has_ended = True
        self._has_data.set()

    async def read(self) -> bytes:
        self._source.reading += 1
        try:
            await anyio.sleep(LATENCY)
            await self._has_data.wait()
        except anyio.get_cancelled_exc_class():
            if not self.is_resumable:
                self.is_dead = True
                self._ready.clear()
                self._has_data = anyio.Event()
            raise
        finally:
            self._source.reading -= 1
        piece = bytes(self._ready)
        self._ready.clear()
        if not self.has_ended:
            self._has_data = anyio.Event()
        self._source.reads += 1
        return piece

    async def aclose(self) -> None:
        if self in self._source.streams:
            self._source.streams.remove(self)


class FeedSource:
    """Jobs that end at given times, a list of them, and a change feed. Counts polls, streams and reads."""

    batch_limit = 100

    def __init__(self, ends: dict[str, float]) -> None:
        self.ends = ends
        self.ended: list[str] = []  # in order of their ends: the n-th event is about the n-th
        self.streams: list[FakeStream] = []
        self.polls = 0
        self.opened: list[int] = []
        self.reads = 0
        self.reading = 0
        self.refusal: ResponseError | None = None
        self.is_resumable = True

    @property
    def cursor(self) -> Cursor:
        return Cursor(f"{PATH}?since=e.{len(self.ended)}", "e", len(self.ended))

    def handle(self, job_id: str) -> Handle:
        """A handle from a response of this moment."""
        handle = Handle(job_id)
        handle.cursor = self.cursor
        if job_id in self.ended:
            handle.snapshot = JobSnapshot(id=job_id, status=JobStatus.COMPLETED)
        return handle

    async def end_jobs(self) -> None:
        for job_id, end in sorted(self.ends.items(), key=lambda item: item[1]):
            await anyio.sleep_until(end)
            self.ended.append(job_id)
            for stream in self.streams:
                stream.put(self._event(len(self.ended)))

    async def send_heartbeats(self) -> None:
        while True:
            await anyio.sleep(10)
            for stream in self.streams:
                stream.put(b":\n\n")

    async def query(self, ids: Sequence[str], known: Known) -> StatusReport:
        self.polls += 1
        cursor = self.cursor
        snapshots = {job_id: self._snapshot(job_id) for job_id in ids}
        await anyio.sleep(LATENCY)
        return StatusReport(snapshots, cursor)

    async def query_single(self, job_id: str, known: Known) -> StatusReport:
        return await self.query([job_id], known)

    async def open_stream(self, path: str, last_event_id: str | None) -> FakeStream:
        await anyio.sleep(LATENCY)
        if self.refusal is not None:
            raise self.refusal
        since = int((last_event_id or path).rpartition(".")[2])
        self.opened.append(since)
        stream = FakeStream(self)
        for change in range(since + 1, len(self.ended) + 1):
            stream.put(self._event(change))
        return stream

    def _snapshot(self, job_id: str) -> JobSnapshot:
        return JobSnapshot(id=job_id, status=JobStatus.COMPLETED if job_id in self.ended else JobStatus.QUEUED)

    def _event(self, change: int) -> bytes:
        job = json.dumps({"id": self.ended[change - 1], "status": "complete"})
        return f"event: job\nid: e.{change}\ndata: {job}\n\n".encode()


def poller_for(source: FeedSource, seed: int = 1) -> Poller:
    return Poller(source, ChangeFeed(source.open_stream), PollInterval(), draw=random.Random(seed).random)


async def wait_for(poller: Poller, handles: Sequence[Handle], need: int | None = None) -> Waiter:
    waiter = poller.join(handles)
    try:
        await poller.wait_for(waiter, need)
    finally:
        poller.leave(waiter)
    return waiter


async def with_source(source: FeedSource, poller: Poller, work: Callable[[], object]) -> None:
    """Run ``work``, a coroutine function, while jobs end."""
    async with anyio.create_task_group() as group:
        group.start_soon(source.end_jobs)
        group.start_soon(source.send_heartbeats)
        await work()  # type: ignore[misc]
        group.cancel_scope.cancel()


class ScriptedOpener:
    """Opens streams after a latency; each has what ``put`` gave it."""

    def __init__(self) -> None:
        self.source = FeedSource({})
        self.latency = LATENCY
        self.opened: list[tuple[str, str | None]] = []

    async def __call__(self, path: str, last_event_id: str | None) -> FakeStream:
        self.opened.append((path, last_event_id))
        await anyio.sleep(self.latency)
        return FakeStream(self.source)

    @property
    def stream(self) -> FakeStream:
        return self.source.streams[-1]


def at(number: int) -> Cursor:
    return Cursor(f"{PATH}?since=e.{number}", "e", number)


def unknown(job_id: str) -> JobSnapshot | None:
    return None
