"""The event loop's side of the portal: the calls that other threads submit. Uses asyncio alone, as the portal's loop does."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio

from ..errors import ConnectionClosedError

T = TypeVar("T")


class CallQueue:
    """
    Starts the calls of other threads in the event loop. ``BlockingPortal.start_task_soon`` goes to the loop and back before the
    call itself does; this goes once, which takes a third off the cost of a call.
    """

    def __init__(self) -> None:
        self.thread_id = threading.get_ident()
        self._loop = asyncio.get_running_loop()
        self._is_open = True
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Accept calls until cancelled, then cancel those that run."""
        try:
            await anyio.sleep_forever()
        finally:
            self._is_open = False
            with anyio.CancelScope(shield=True):
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    def submit(self, call: Call[T]) -> None:
        """Start ``call`` soon. From any thread."""
        self._call_soon(self._start, call)

    def cancel(self, call: Call[T]) -> None:
        """Cancel ``call`` soon. From any thread."""
        self._call_soon(call.cancel)

    def _call_soon(self, callback: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args, context=_context())
        except RuntimeError:
            raise ConnectionClosedError("this connection is closed") from None

    def _start(self, call: Call[T]) -> None:
        if not self._is_open:
            call.finished.set()
            return
        call.task = self._loop.create_task(call.run())
        self._tasks.add(call.task)
        call.task.add_done_callback(self._tasks.discard)
        # Not at the end of `run`: a task that is cancelled before its first step never gets there.
        call.task.add_done_callback(lambda _: call.finished.set())


class Call(Generic[T]):
    """One coroutine to run in the event loop; can be cancelled at any time, also before the loop has started it."""

    def __init__(self, func: Callable[[], Awaitable[T]]) -> None:
        self._func = func
        self._results: list[T] = []
        self._error: Exception | None = None
        self.task: asyncio.Task[None] | None = None
        self.finished = threading.Event()

    async def run(self) -> None:
        try:
            self._results.append(await self._func())
        except Exception as error:  # noqa: BLE001 - raised in the calling thread
            self._error = error

    def cancel(self) -> None:
        if self.task is None:  # the interrupt came before `submit`
            self.finished.set()
        else:
            self.task.cancel()

    def result(self) -> T:
        """Return the coroutine's result or raise its exception, once ``finished`` is set."""
        if self._error is not None:
            raise self._error
        if not self._results:
            raise ConnectionClosedError("the connection was closed during this call")
        return self._results[0]


def _context() -> contextvars.Context:
    """Copy the caller's context variables, except the one by which sniffio knows that the caller runs inside trio."""
    context = contextvars.copy_context()
    if "sniffio" in sys.modules:
        context.run(sys.modules["sniffio"].current_async_library_cvar.set, "asyncio")
    return context
