"""
Event loops in which a sleep takes no time: the clock jumps to the next timer as soon as no task is runnable.

A wait of an hour takes a millisecond, and times can be asserted exactly. No sockets and no worker threads may be used: a task
that waits for them looks idle, and the clock jumps past its timeouts. So this goes with ``FakePlatform`` in memory, not with
``serving`` and not with the blocking API. ``time.time()`` and ``time.monotonic()`` stay real.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypeVar, TypeVarTuple

import anyio

from ..errors import ConfigurationError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Deadlock(RuntimeError):
    """No task is runnable and no timer is set: the program would wait for ever."""


def virtual_time(backend: Literal["asyncio", "trio"] = "asyncio") -> tuple[str, dict[str, Any]]:
    """
    Return the name and the options of an event loop whose clock jumps, as anyio's fixture ``anyio_backend`` takes them.

        @pytest.fixture
        def anyio_backend():
            return sfjobs.testing.virtual_time()

    Tests that use sockets, worker threads or the blocking API cannot run in it. A program that would wait for ever ends in
    ``Deadlock`` on asyncio.

    Raises:
        ConfigurationError: ``trio`` is not installed.
    """
    if backend == "asyncio":
        return "asyncio", {"loop_factory": VirtualLoop}
    try:
        import trio.testing
    except ImportError:
        raise ConfigurationError("Virtual time on trio needs trio\nRun: pip install trio") from None
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


def run_in_virtual_time(
    function: Callable[[*Ts], Awaitable[T]], *args: *Ts, backend: Literal["asyncio", "trio"] = "asyncio"
) -> T:
    """
    Run an async function to its end in ``virtual_time``, and return its value.

        def test_waits_for_an_hour():
            assert run_in_virtual_time(report) == "done"

    Raises:
        Deadlock: on asyncio, every task waits for something that no timer will bring.
    """
    name, options = virtual_time(backend)
    return anyio.run(function, *args, backend=name, backend_options=options)


class _JumpingSelector(selectors.BaseSelector):
    """Polls the real selector without waiting. When nothing is ready, the loop's clock advances by the timeout."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.offset = 0.0
        self.is_endless: Callable[[], bool] = lambda: False
        """Whether the next timer is in infinity: the loop sleeps for a day at a time until then."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if not ready and (timeout is None or (timeout > 0 and self.is_endless())):
            raise Deadlock("deadlock: every task waits, and no timer is set")
        if not ready and timeout:
            self.offset += timeout
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """The event loop of ``virtual_time`` on asyncio. Its clock starts at 0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self._jumping.is_endless = self._has_no_finite_timer

    def _has_no_finite_timer(self) -> bool:
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]  # a heap
        return bool(timers) and math.isinf(timers[0].when())

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._jumping.offset
