"""How whoever runs a platform ends it: asked once it lets jobs finish for a while, asked again it ends at once."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from concurrent.futures import Future


class Stop:
    """Two wishes, each of which comes true once; callbacks run where ``ask`` is called."""

    def __init__(self) -> None:
        self.wanted: Future[None] = Future()
        self.wanted_at_once: Future[None] = Future()

    def ask(self) -> None:
        """From any thread; the second time it means at once."""
        for wish in (self.wanted, self.wanted_at_once):
            if not wish.done():
                wish.set_result(None)
                return


@contextlib.contextmanager
def asked_by_signals(stop: Stop) -> Iterator[None]:
    """
    Inside, SIGINT and SIGTERM ask the platform to stop, in the running event loop of the main thread. The third ends the
    process as if nobody had cared about signals.
    """
    loop = asyncio.get_running_loop()

    def on_signal(number: int, _: object) -> None:
        if stop.wanted_at_once.done():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        loop.call_soon_threadsafe(stop.ask)

    numbers = [signal.SIGTERM]
    # A script's `sfjobs serve &` starts with SIGINT ignored: Ctrl-C is for the program in the foreground.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        numbers.append(signal.SIGINT)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
