"""
Runs coroutines of one connection from any thread: an event loop in a daemon thread of its own, always asyncio's, reached
through an anyio ``BlockingPortal``. The caller may itself be inside asyncio or trio, as a notebook's cell is.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Generic, ParamSpec, TypeVar

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from .errors import ConnectionClosedError

P = ParamSpec("P")
T = TypeVar("T")

GRACE = 5.0
"""Seconds that an interrupted call gets to clean up before the interrupt is raised anyway."""


class Bridge:
    """One loop in one thread. ``call`` may come from any thread but the loop's own; ``close`` may come twice."""

    def __init__(self) -> None:
        starter = start_blocking_portal("asyncio", name="sfjobs")
        self._portal = starter.__enter__()
        self._pid = os.getpid()
        self._stop = weakref.finalize(
            self, _stop, self._portal, starter, self._portal.call(threading.get_ident), self._pid
        )

    @property
    def is_open(self) -> bool:
        """False once closed, and in a forked child, where the loop's thread does not exist."""
        return self._stop.alive and os.getpid() == self._pid

    def call(self, func: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """
        What ``await func(*args, **kwargs)`` returns or raises. Ctrl-C cancels the coroutine, waits until it has cleaned up
        and is raised then; a second one does not wait. Raises ConnectionClosedError once closed, and in a forked child.
        """
        if os.getpid() != self._pid:
            raise ConnectionClosedError("this connection belongs to the parent process: open a new one after a fork")
        errand = _Errand(lambda: func(*args, **kwargs))
        try:
            try:
                future = self._portal.start_task_soon(errand.run)
            except RuntimeError as error:
                raise self._refusal(error) from None
            # Windows cannot interrupt a wait without a timeout, and a task that is cancelled before its first step
            # never says that it is finished.
            while not errand.finished.wait(0.5) and not future.done():
                pass
        except BaseException:
            self._recall(errand)
            raise
        return errand.outcome()

    def close(self) -> None:
        """Ends the loop and its thread. Calls that other threads are in raise ConnectionClosedError at once."""
        self._stop()

    def _recall(self, errand: _Errand[T]) -> None:
        errand.is_recalled = True
        try:
            self._portal.start_task_soon(errand.cancel)
        except RuntimeError:
            return  # a closed portal has cancelled it already, or never begun it
        errand.finished.wait(GRACE)

    def _refusal(self, error: RuntimeError) -> RuntimeError:
        return error if self.is_open else ConnectionClosedError("this connection is closed")


class _Errand(Generic[T]):
    """One call under way, which may be recalled at any moment, also before the loop has begun it."""

    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        self._work = work
        self._scope: anyio.CancelScope | None = None
        self._values: list[T] = []
        self._error: BaseException | None = None
        self.is_recalled = False
        self.finished = threading.Event()

    async def run(self) -> None:
        try:
            with anyio.CancelScope() as self._scope:
                if self.is_recalled:
                    self._scope.cancel()
                self._values.append(await self._work())
        except Exception as error:  # noqa: BLE001 - raised in the thread that asked, without the portal's frames
            self._error = error
        finally:
            self.finished.set()

    def cancel(self) -> None:
        if self._scope is not None:
            self._scope.cancel()

    def outcome(self) -> T:
        if self._error is not None:
            raise self._error
        if not self._values:
            raise ConnectionClosedError("the connection was closed during this call")
        return self._values[0]


def _stop(
    portal: BlockingPortal, starter: AbstractContextManager[BlockingPortal], loop_thread: int, owner: int
) -> None:
    """A forked child has no such thread; the loop's own thread, where a forgotten bridge may be collected, cannot join itself."""
    if os.getpid() != owner:
        return
    if threading.get_ident() == loop_thread:
        threading.Thread(target=_end, args=(portal, starter), name="sfjobs-stop", daemon=True).start()
    else:
        _end(portal, starter)


def _end(portal: BlockingPortal, starter: AbstractContextManager[BlockingPortal]) -> None:
    portal.call(portal.stop, True)
    starter.__exit__(None, None, None)
