"""
Signals. A platform stops in two stages: the first request lets running jobs finish for a while, the second stops at once. A
hangup reads its certificate again.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future


class Stop:
    """Two requests to stop, each a future. Their callbacks run where ``request`` is called."""

    def __init__(self) -> None:
        self.requested: Future[None] = Future()
        self.requested_at_once: Future[None] = Future()

    def request(self) -> None:
        """Request a stop; a second call requests it at once. Call this on any thread."""
        for future in (self.requested, self.requested_at_once):
            if not future.done():
                future.set_result(None)
                return


@contextlib.contextmanager
def stop_on_signals(stop: Stop) -> Iterator[None]:
    """
    Request a stop on SIGINT and SIGTERM, in the running event loop of the main thread. The third signal ends the process, as it
    does without a handler.
    """
    loop = asyncio.get_running_loop()

    def on_signal(number: int, _: object) -> None:
        if stop.requested_at_once.done():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        loop.call_soon_threadsafe(stop.request)

    numbers = [signal.SIGTERM]
    # A script's `sfjobs serve &` starts with SIGINT ignored: Ctrl-C is for the program in the foreground.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        numbers.append(signal.SIGINT)
    previous = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def reload_on_hangup(reload: Callable[[], None]) -> Iterator[None]:
    """Call ``reload`` in the running event loop of the main thread on SIGHUP, by which tools tell of a renewed certificate."""
    if sys.platform == "win32":
        yield
        return
    loop = asyncio.get_running_loop()
    previous = signal.signal(signal.SIGHUP, lambda *_: loop.call_soon_threadsafe(reload))
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, previous)
