"""The time of a scripted platform: that of the event loop that calls it, or a ``VirtualClock`` that a test moves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import anyio
import anyio.lowlevel


class VirtualClock:
    """
    A clock that only ``advance`` moves, for ``FakePlatform(clock=...)``: jobs end when the test says that time has passed.

    It is the platform's time alone. The client goes on to live in the time of its event loop: pauses between polls, timeouts,
    backoff and latency pass as they do elsewhere. To let those pass at once, run the test in ``virtual_time`` instead.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """
        Move the clock forward. Safe to call from any thread.

        Raises:
            ValueError: ``seconds`` is negative.
        """
        if seconds < 0:
            raise ValueError(f"time does not run backward: {seconds}")
        with self._lock:
            self._now += seconds
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    def on_advance(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after each move, in the thread that moves the clock."""
        with self._lock:
            self._listeners.append(listener)


class LoopClock:
    """
    The time of the event loop that runs the caller, virtual or real. It goes on without a jump where another loop takes over,
    since each loop counts from a start of its own. Outside of any loop real time passes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: object = None
        self._offset = 0.0
        self._last = (0.0, time.monotonic())
        self._follows_loops = True

    def __call__(self) -> float:
        with self._lock:
            loop, loop_time = _loop_time() if self._follows_loops else (None, 0.0)
            if loop is None or loop != self._loop:
                last, measured_at = self._last
                now = last + time.monotonic() - measured_at
                if loop is not None:
                    self._loop, self._offset = loop, now - loop_time
            else:
                now = self._offset + loop_time
            self._last = (now, time.monotonic())
            return now

    def use_real_time(self) -> None:
        """Count real time from now on, in whatever loop the caller runs."""
        self()
        self._follows_loops = False


def _loop_time() -> tuple[object, float]:
    """Return the running event loop and its time, or None."""
    try:
        return anyio.lowlevel.current_token(), anyio.current_time()
    except RuntimeError:  # no event loop runs here
        return None, 0.0


class Calendar:
    """Dates for the seconds of a clock: now, when it was made, and so on from there."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._began = clock()
        self._date = datetime.now(UTC)

    def date(self, seconds: float) -> datetime:
        """Return the date at these seconds of the clock."""
        return self._date + timedelta(seconds=seconds - self._began)
