"""
The responses of the fast platform: the protocol over a ``Board``. ``wire`` passes whole requests; features, rate limit and
round-trip time are those of a ``Scenario``.
"""

from __future__ import annotations

import asyncio
import io
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np

from . import sapi
from .board import KEY, TOKEN, Board
from .delay import DelayLine
from .messages import JSON, Request, answered, refused

MAX_PAGE_SIZE: Final = 100
KEEP_ALIVE_SECONDS: Final = 10.0
"""Seconds after which a comment shows that a stream lives."""

_TOKEN_PATH: Final = b"/auth/realms/platform/protocol/openid-connect/token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """
    The settings of a platform: ``rtt`` is the round-trip time in seconds; ``feed``, ``batches`` and ``keys`` are its features;
    ``rate`` is the rate limit in requests per second (0: none); ``lifetime`` is the run time of a submitted job in seconds.
    """

    rtt: float = 0.0
    feed: bool = True
    batches: bool = True
    keys: bool = True
    rate: float = 0.0
    lifetime: float | None = None


@dataclass(slots=True)
class Tally:
    """The use by clients: requests by kind, connections, bytes received and sent."""

    requests: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    def as_json(self) -> dict[str, object]:
        return {
            "requests": dict(self.requests),
            "connections": self.connections,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
        }


@dataclass(frozen=True, slots=True)
class Subscription:
    """In place of a response: the connection becomes a stream of the changes after this one."""

    after: int
    hello: bytes


Answer: TypeAlias = bytes | Subscription | sapi.Held


class Platform:
    """One scenario. ``arrive`` accepts a request; its response goes to ``reply`` after the round-trip time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, scenario: Scenario) -> None:
        self.scenario = scenario
        self.board = Board(lifetime=scenario.lifetime)
        self.tally = Tally()
        self.way_in = DelayLine(loop, scenario.rtt / 2)
        self.way_out = DelayLine(loop, scenario.rtt / 2)
        self.on_change: dict[Callable[[], None], None] = {}
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._bucket = Bucket(scenario.rate)
        self._offers = b"accept-post: application/json, application/jobs+json\r\n" if scenario.batches else b""
        self._result = _result()

    def arrive(self, request: Request, reply: Callable[[Answer], None]) -> None:
        self.way_in.put(lambda: reply(self.answer(request)))

    def answer(self, request: Request) -> Answer:
        """Return the response at this moment."""
        now = time.monotonic()
        self.advance(now)
        if request.path.startswith(sapi.PREFIX):
            return sapi.answer(self.board, request, now, self._count)
        if request.path == _TOKEN_PATH:
            self._count("token")
            right = KEY.encode() in request.body
            return (
                answered(200, b'{"access_token":"%s","expires_in":3600}' % TOKEN)
                if right
                else refused(400, "invalid_grant")
            )
        if b"\r\nauthorization: bearer " + TOKEN not in request.head:
            self._count("unauthenticated")
            return refused(401, "unauthenticated")
        if (wait := self._bucket.acquire(now)) > 0:
            self._count("limited")
            return refused(429, "too-many-requests", b"retry-after: %d\r\n" % math.ceil(wait))
        return self._routed(request, now)

    def advance(self, now: float) -> None:
        """End the jobs that are due, and notify the streams."""
        if self.board.advance(now):
            self._notify()

    def start(self, start: float, offsets: list[float]) -> None:
        """Let job i end ``offsets[i]`` seconds after ``start``."""
        self.board.schedule(start, offsets)
        self._arm()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.on_change.clear()

    def _routed(self, request: Request, now: float) -> bytes | Subscription:
        path, method = request.path, request.method
        if path == b"/jobs":
            if method == b"GET":
                return self._list(request)
            batch = b"application/jobs+json" in (request.header(b"content-type") or b"")
            return self._submit_batch(request, now) if batch else self._submit(request, now)
        if path == b"/jobs/changes":
            return self._changes(request)
        if path == b"/healthz":
            self._count("ping")
            return answered(200, b"{}")
        _, _, id_, *tail = path.split(b"/")
        index = self.board.find(id_)
        if index is None:
            self._count("unknown")
            return refused(404, "not-found")
        return self._about(index, method, tail, now)

    def _about(self, index: int, method: bytes, tail: list[bytes], now: float) -> bytes:
        if method == b"PATCH":
            self._count("cancel")
            if not self.board.cancel(index, now):
                return refused(409, "invalid-job-operation")
            self._notify()
            return answered(204, b"", b"")
        if tail == [b"result"]:
            self._count("result")
            if b'"status":"complete"' not in self.board.text(index):
                return refused(404, "not-found")
            return answered(200, self._result, b"content-type: application/zip\r\n")
        self._count("one")
        return answered(200, self.board.text(index), JSON + self._link())

    def _list(self, request: Request) -> bytes:
        self._count("list")
        ids = [value for name, _, value in _items(request.query) if name == b"id"]
        if len(ids) > MAX_PAGE_SIZE:
            return refused(400, "validation-error")
        if ids:
            indices = [index for index in map(self.board.find, ids) if index is not None]
        else:
            size = next((int(value) for name, _, value in _items(request.query) if name == b"size"), 5)
            indices = list(range(len(self.board) - 1, -1, -1))[: min(size, MAX_PAGE_SIZE)]
        content = b'{"data":[%s]}' % self.board.texts(indices)
        return answered(200, content, JSON + self._link() + self._offers)

    def _submit(self, request: Request, now: float) -> bytes:
        self._count("submit")
        key = request.header(b"idempotency-key") if self.scenario.keys else None
        index = self.board.submit(now, json.loads(request.body), None if key is None else key.decode())
        headers = JSON + self._link() + self._offers
        if key is not None:
            headers += b"idempotency-key: %s\r\n" % key
        self._changed()
        return answered(201, self.board.text(index), headers)

    def _submit_batch(self, request: Request, now: float) -> bytes:
        self._count("batch")
        items: list[Mapping[str, object]] = json.loads(request.body)
        if not self.scenario.batches or len(items) > MAX_PAGE_SIZE:
            return refused(400, "validation-error")
        taken = [self.board.submit(now, item, _text(item.get("idempotency_key"))) for item in items]
        content = b",".join([b'{"status":201,"job":%s}' % self.board.text(index) for index in taken])
        self._changed()
        return answered(207, b'{"data":[%s]}' % content, JSON + self._link() + self._offers)

    def _changes(self, request: Request) -> bytes | Subscription:
        self._count("changes")
        if not self.scenario.feed:
            return refused(404, "not-found")
        since = next((value for name, _, value in _items(request.query) if name == b"since"), None)
        cursor = request.header(b"last-event-id") or since
        if cursor is None:
            newest = self.board.newest_change
            return Subscription(newest, b"event: hello\nid: %s\ndata: {}\n\n" % self.board.cursor(newest))
        after = self.board.change_at(cursor)
        return refused(410, "cursor-expired") if after is None else Subscription(after, b"")

    def _link(self) -> bytes:
        if not self.scenario.feed:
            return b""
        cursor = self.board.cursor(self.board.newest_change)
        return b'link: </jobs/changes?since=%s>; rel="monitor"; type="text/event-stream"\r\n' % cursor

    def _count(self, kind: str) -> None:
        self.tally.requests[kind] += 1

    def _changed(self) -> None:
        """Notify the streams of a new job."""
        self._notify()
        if self.scenario.lifetime is not None:
            self._arm()

    def _notify(self) -> None:
        for notify in list(self.on_change):
            notify()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due = self.board.next_end()
        self._timer = None if due is None else self._loop.call_later(max(due - time.monotonic(), 0.0), self._on_time)

    def _on_time(self) -> None:
        self.advance(time.monotonic())
        self._arm()


class Bucket:
    """A token bucket with the requests of one second; a rate of 0 is no limit."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._tokens = rate
        self._filled_at: float | None = None

    def acquire(self, now: float) -> float:
        """Return 0 if a request is allowed now, otherwise the seconds until one is."""
        if not self._rate:
            return 0.0
        elapsed = 0.0 if self._filled_at is None else now - self._filled_at
        self._filled_at = now
        self._tokens = min(self._tokens + elapsed * self._rate, self._rate)
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0


def _items(query: bytes) -> list[tuple[bytes, bytes, bytes]]:
    return [item.partition(b"=") for item in query.split(b"&")]


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _result() -> bytes:
    """Return an archive of 1 KB as the platform stores them: 30 shots of 25 modes."""
    buffer = io.BytesIO()
    np.savez(buffer, np.random.default_rng(1).poisson(0.5, size=(30, 25)).astype(np.uint8))
    return buffer.getvalue()
