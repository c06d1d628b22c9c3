"""
Runs coroutines of one connection from any thread: an event loop in a daemon thread of its own, always asyncio's, held open by
an anyio ``BlockingPortal``. The caller may itself be inside asyncio or trio, as a notebook's cell is.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import ParamSpec, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from ..errors import ConnectionClosedError
from ._calls import Call, CallQueue

P = ParamSpec("P")
T = TypeVar("T")

GRACE = 5.0
"""Seconds that an interrupted call gets to clean up before the interrupt is raised anyway."""


class Portal:
    """One loop in one thread. ``call`` may come from any thread but the loop's own; ``close`` may come twice."""

    def __init__(self) -> None:
        starter = start_blocking_portal("asyncio", name="sfjobs")
        portal = starter.__enter__()
        self._pid = os.getpid()
        self._desk: CallQueue = portal.call(CallQueue)
        portal.start_task_soon(self._desk.serve)
        self._stop = weakref.finalize(self, _stop, portal, starter, self._desk.thread, self._pid)

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
        if threading.get_ident() == self._desk.thread:
            raise RuntimeError("a blocking call from within the connection's own event loop would wait for itself")
        errand = Call(lambda: func(*args, **kwargs))
        try:
            self._desk.hand_in(errand)
            # Windows cannot interrupt a wait without a timeout.
            while not errand.finished.wait(1.0) and self.is_open:
                pass
        except ConnectionClosedError:
            raise
        except BaseException:
            self._desk.recall(errand)
            errand.finished.wait(GRACE)
            raise
        return errand.outcome()

    def close(self) -> None:
        """Ends the loop and its thread. Calls that other threads are in raise ConnectionClosedError at once."""
        self._stop()


def _stop(portal: BlockingPortal, starter: AbstractContextManager[BlockingPortal], thread: int, owner: int) -> None:
    """A forked child has no such thread; the loop's own thread, where a forgotten bridge may be collected, cannot join itself."""
    if os.getpid() != owner:
        return
    if threading.get_ident() == thread:
        threading.Thread(target=_end, args=(portal, starter), name="sfjobs-stop", daemon=True).start()
    else:
        _end(portal, starter)


def _end(portal: BlockingPortal, starter: AbstractContextManager[BlockingPortal]) -> None:
    portal.call(portal.stop, True)
    starter.__exit__(None, None, None)
