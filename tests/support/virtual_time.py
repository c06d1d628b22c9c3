"""
An asyncio event loop whose clock jumps to the next timer instead of waiting for it: the twin of trio's ``MockClock``.

A test that sleeps an hour runs in a millisecond, times can be asserted exactly, and a deadlock is an error instead of a hang. No
sockets and no worker threads may be used on it: a busy thread looks idle.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Sequence


class Deadlock(RuntimeError):
    """No task is runnable and no timer is set: the program would wait for ever."""


class _JumpingSelector(selectors.BaseSelector):
    """Polls the real selector without waiting. When nothing is ready, the loop's clock advances by the timeout."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.offset = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if not ready and timeout is None:
            raise Deadlock("deadlock: no task is runnable")
        if not ready and timeout:
            self.offset += timeout
        return ready

    def register(self, fileobj, events, data=None):  # type: ignore[no-untyped-def]
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj):  # type: ignore[no-untyped-def]
        return self._real.unregister(fileobj)

    def modify(self, fileobj, events, data=None):  # type: ignore[no-untyped-def]
        return self._real.modify(fileobj, events, data)

    def get_map(self):  # type: ignore[no-untyped-def]
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.offset


__all__: Sequence[str] = ["Deadlock", "VirtualLoop"]
