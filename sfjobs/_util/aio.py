"""Task groups that nobody outside need know of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup


@asynccontextmanager
async def plain_task_group() -> AsyncIterator[TaskGroup]:
    """
    A task group that raises what its block raises as it is, in no group, and no more than one error of its tasks. A Ctrl-C,
    which trio raises in whichever task runs, comes out as KeyboardInterrupt.
    """
    failures: list[BaseException] = []
    try:
        async with anyio.create_task_group() as group:
            try:
                yield group
            except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - raised below
                failures.append(error)
                group.cancel_scope.cancel()
    except BaseExceptionGroup as several:
        failures.append(_most_urgent(several))
    if failures:
        raise failures[-1]


def _most_urgent(several: BaseExceptionGroup[BaseException]) -> BaseException:
    errors: list[BaseException] = [several]
    while any(isinstance(error, BaseExceptionGroup) for error in errors):
        errors = [
            inner
            for error in errors
            for inner in (error.exceptions if isinstance(error, BaseExceptionGroup) else [error])
        ]
    return min(errors, key=lambda error: isinstance(error, Exception))
