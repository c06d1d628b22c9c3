"""
The loop's side of the bridge: where calls from other threads are handed in, and what becomes of each. Knows only asyncio,
because the bridge's loop is always asyncio's.
"""

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
    Where calls are handed in, on the loop's side. A portal's own ``start_task_soon`` goes to the loop and back before the
    call itself does; this goes once, which takes a third off the cost of a call.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.thread = threading.get_ident()
        self._is_open = True
        self._under_way: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            self._is_open = False
            with anyio.CancelScope(shield=True):
                for task in self._under_way:
                    task.cancel()
                await asyncio.gather(*self._under_way, return_exceptions=True)

    def hand_in(self, errand: Call[T]) -> None:
        self._soon(self._begin, errand)

    def recall(self, errand: Call[T]) -> None:
        self._soon(errand.cancel)

    def _soon(self, action: Callable[..., None], *args: object) -> None:
        try:
            self.loop.call_soon_threadsafe(action, *args, context=_context())
        except RuntimeError:
            raise ConnectionClosedError("this connection is closed") from None

    def _begin(self, errand: Call[T]) -> None:
        if not self._is_open:
            errand.finished.set()
            return
        errand.task = self.loop.create_task(errand.run())
        self._under_way.add(errand.task)
        errand.task.add_done_callback(self._under_way.discard)
        # A task that is cancelled before its first step never says by itself that it has finished.
        errand.task.add_done_callback(lambda _: errand.finished.set())


class Call(Generic[T]):
    """One call under way, which may be recalled at any moment, also before the loop has begun it."""

    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        self._work = work
        self._values: list[T] = []
        self._error: Exception | None = None
        self.task: asyncio.Task[None] | None = None
        self.finished = threading.Event()

    async def run(self) -> None:
        try:
            self._values.append(await self._work())
        except Exception as error:  # noqa: BLE001 - raised in the thread that asked
            self._error = error

    def cancel(self) -> None:
        if self.task is None:  # the interrupt came before it was handed in
            self.finished.set()
        else:
            self.task.cancel()

    def outcome(self) -> T:
        if self._error is not None:
            raise self._error
        if not self._values:
            raise ConnectionClosedError("the connection was closed during this call")
        return self._values[0]


def _context() -> contextvars.Context:
    """The caller's context variables, but for the one by which a caller inside trio says that it is there."""
    context = contextvars.copy_context()
    if "sniffio" in sys.modules:
        context.run(sys.modules["sniffio"].current_async_library_cvar.set, "asyncio")
    return context
