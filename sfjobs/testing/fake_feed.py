"""The change feed of a ``FakePlatform``: server-sent events about its jobs, in whatever event loop reads them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Final, Protocol

import anyio
import anyio.lowlevel

HEARTBEAT_SECONDS: Final = 10.0


class FeedHost(Protocol):
    """The platform whose changes a stream sends."""

    epoch: str

    def changes_after(self, number: int) -> list[tuple[int, dict[str, object]]]: ...
    def seconds_to_next_end(self) -> float | None: ...
    def watch(self, waker: Waker) -> None: ...
    def unwatch(self, waker: Waker) -> None: ...


class Waker:
    """An event of one event loop that any thread may set."""

    def __init__(self) -> None:
        self._loop = anyio.lowlevel.current_token()
        self._event = anyio.Event()

    def wake(self) -> None:
        """Set the event soon. Never waits."""
        native = getattr(self._loop, "native_token", None)
        schedule = getattr(native, "call_soon_threadsafe", None) or getattr(native, "run_sync_soon", None)
        assert schedule is not None, "asyncio and trio have one of them"
        with contextlib.suppress(RuntimeError):  # the loop has ended, and trio's RunFinishedError is one, too
            schedule(self._event.set)

    async def wait(self, seconds: float) -> None:
        """Return when it was woken, or after so many seconds."""
        with anyio.move_on_after(seconds):
            await self._event.wait()
        if self._event.is_set():
            self._event = anyio.Event()


class FakeFeed:
    """One stream, which begins after the change with this number. No generator, since trio warns of one that is left half-way."""

    def __init__(self, host: FeedHost, after: int, *, is_new: bool) -> None:
        self._host = host
        self._last = after
        self._waker = Waker()
        self._first = b"retry: 1000\n\n"
        if is_new:
            self._first += f"event: hello\nid: {host.epoch}.{after}\ndata: {{}}\n\n".encode()
        host.watch(self._waker)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        first, self._first = self._first, b""
        if first:
            await anyio.lowlevel.checkpoint()
            return first
        sleep_until = anyio.current_time() + HEARTBEAT_SECONDS
        while not (changes := self._host.changes_after(self._last)):
            due = self._host.seconds_to_next_end()
            left = sleep_until - anyio.current_time()
            if left <= 0:
                return b":\n\n"
            # A little later than due, or rounding could make it wait for nothing again and again.
            await self._waker.wait(left if due is None else min(left, max(due, 0.0) + 1e-6))
        self._last = changes[-1][0]
        await anyio.lowlevel.checkpoint()
        return b"".join(
            f"event: job\nid: {self._host.epoch}.{number}\ndata: {json.dumps(record)}\n\n".encode()
            for number, record in changes
        )

    async def aclose(self) -> None:
        self._host.unwatch(self._waker)


def cursor_of(text: str | None, epoch: str, newest: int) -> int | None:
    """Return the number in a cursor, the newest without one, and None for a cursor of another platform."""
    if text is None:
        return newest
    of, _, number = text.rpartition(".")
    return int(number) if of == epoch and number.isdigit() else None
