"""
Run the coroutines of one connection from any thread: an anyio ``BlockingPortal`` holds an asyncio event loop open in a daemon
thread. The calling thread may itself run asyncio or trio, as a notebook's cell does.
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

CLEANUP_SECONDS = 0.2
"""How long an interrupted call may clean up before the interrupt is raised anyway. It goes on in the loop's thread."""


class Portal:
    """An event loop in a thread of its own. ``call`` works from any other thread, ``close`` more than once."""

    def __init__(self) -> None:
        starter = start_blocking_portal("asyncio", name="sfjobs")
        portal = starter.__enter__()
        self._pid = os.getpid()
        self._queue: CallQueue = portal.call(CallQueue)
        portal.start_task_soon(self._queue.serve)
        self._stop = weakref.finalize(self, _stop, portal, starter, self._queue.thread_id, self._pid)

    @property
    def is_open(self) -> bool:
        """False after ``close``, and in a forked child, which has no copy of the thread."""
        return self._stop.alive and os.getpid() == self._pid

    def call(self, func: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Return what ``await func(*args, **kwargs)`` returns. Ctrl-C cancels the coroutine, waits until it has cleaned up and is
        raised then; a second Ctrl-C does not wait.

        Raises:
            ConnectionClosedError: after ``close``, and in a forked child.
            RuntimeError: in the portal's own thread.
        """
        if os.getpid() != self._pid:
            raise ConnectionClosedError("this connection belongs to the parent process: open a new one after a fork")
        if threading.get_ident() == self._queue.thread_id:
            raise RuntimeError("a blocking call from within the connection's own event loop would wait for itself")
        call = Call(lambda: func(*args, **kwargs))
        try:
            self._queue.submit(call)
            # Windows cannot interrupt a wait without a timeout.
            while not call.finished.wait(1.0) and self.is_open:
                pass
        except ConnectionClosedError:
            raise
        except BaseException:
            self._queue.cancel(call)
            call.finished.wait(CLEANUP_SECONDS)
            raise
        return call.result()

    def close(self) -> None:
        """End the loop and its thread. Calls of other threads raise ConnectionClosedError at once."""
        self._stop()


def _stop(portal: BlockingPortal, starter: AbstractContextManager[BlockingPortal], thread_id: int, pid: int) -> None:
    """Stop from any thread and process: a forked child has no such thread, and the loop's own thread cannot join itself."""
    if os.getpid() != pid:
        return
    if threading.get_ident() == thread_id:  # the garbage collector may finalize a portal in the loop's thread
        threading.Thread(target=_join, args=(portal, starter), name="sfjobs-stop", daemon=True).start()
    else:
        _join(portal, starter)


def _join(portal: BlockingPortal, starter: AbstractContextManager[BlockingPortal]) -> None:
    portal.call(portal.stop, True)
    starter.__exit__(None, None, None)
