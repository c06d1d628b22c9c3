"""
Helpers for anyio: a task group that raises no exception group, worker threads of our own, and a base for what ``async with``
closes.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Self, TypeVar, TypeVarTuple

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
from anyio.abc import TaskGroup
from anyio.lowlevel import RunVar

from .handles import Handle

MAX_THREADS: Final = 40
"""Worker threads of one event loop, as many as anyio's own limit."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_limiter: RunVar[anyio.CapacityLimiter] = RunVar("sfjobs.threads")


async def in_thread(function: Callable[[*Ts], T], *args: *Ts) -> T:
    """
    Run ``function`` in a worker thread. It does not count to anyio's own limit: callers may fill that with threads that wait for
    us.
    """
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(MAX_THREADS)
        _limiter.set(limiter)
    return await anyio.to_thread.run_sync(function, *args, limiter=limiter)


async def in_daemon_thread(function: Callable[[], T]) -> T:
    """
    Run ``function``, which may hang and cannot be interrupted, such as a name lookup, in a thread of its own. When cancelled
    it returns at once, and neither the event loop nor the interpreter waits for the thread at its end.
    """
    token, ended = anyio.lowlevel.current_token(), anyio.Event()
    values, errors = list[T](), list[Exception]()

    def work() -> None:
        try:
            values.append(function())
        except Exception as error:  # noqa: BLE001 - raised in the caller's task
            errors.append(error)
        with contextlib.suppress(RuntimeError):  # the event loop has ended
            anyio.from_thread.run_sync(ended.set, token=token)

    threading.Thread(target=work, daemon=True, name="sfjobs name lookup").start()
    await ended.wait()
    if errors:
        raise errors.pop()
    return values.pop()


class Closeable(Handle):
    """A resource that ``async with`` closes on exit; the blocking twin is ``sync._closeable``."""

    async def aclose(self) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


@asynccontextmanager
async def plain_task_group() -> AsyncIterator[TaskGroup]:
    """
    Open a task group that raises one plain exception: that of its block, else one of its tasks, never a group of them.

    A Ctrl-C, which trio raises in any task, comes out as KeyboardInterrupt.
    """
    failures: list[BaseException] = []
    try:
        async with anyio.create_task_group() as group:
            try:
                yield group
            except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - raised below
                failures.append(error)
                group.cancel_scope.cancel()
    except BaseExceptionGroup as errors:
        failures.append(most_urgent(errors))
    if failures:
        raise failures[-1]


def most_urgent(error: BaseException) -> BaseException:
    """Return the first plain exception in a tree of groups; one that is no ``Exception`` comes before all others."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    return min(map(most_urgent, error.exceptions), key=lambda inner: isinstance(inner, Exception))
