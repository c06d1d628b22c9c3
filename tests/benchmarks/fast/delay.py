"""Half of a round-trip time between client and server."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")


class DelayLine:
    """A queue of calls that are made in order, ``seconds`` later; at once if that is 0."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._loop = loop
        self._clock = (
            clock  # not the loop's clock: uvloop's does not advance within an iteration, and counts milliseconds
        )
        self._seconds = seconds
        self._calls: deque[tuple[float, Callable[[], object]]] = deque()

    def put(self, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        if not self._seconds:
            call(*args, **kwargs)
            return
        self._calls.append((self._clock() + self._seconds, lambda: call(*args, **kwargs)))
        if len(self._calls) == 1:
            self._loop.call_later(self._seconds, self._run)

    def _run(self) -> None:
        while self._calls:
            left = self._calls[0][0] - self._clock()
            if left > 0:
                self._loop.call_later(left, self._run)
                return
            self._calls[0][1]()
            # Only now: a call that adds another one must not start a second timer.
            self._calls.popleft()
