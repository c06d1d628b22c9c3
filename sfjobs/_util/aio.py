"""Helpers for anyio: a task group that raises no exception group, and a base for what ``async with`` closes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import anyio
from anyio.abc import TaskGroup


class Closeable:
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
        failures.append(_most_urgent(errors))
    if failures:
        raise failures[-1]


def _most_urgent(error: BaseException) -> BaseException:
    """Return the first plain exception in a tree of groups; one that is no ``Exception`` comes before all others."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    return min(map(_most_urgent, error.exceptions), key=lambda inner: isinstance(inner, Exception))
