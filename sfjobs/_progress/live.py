"""Shows progress beside a wait. An error of a display does not end the wait."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Literal

import anyio

from .._util.aio import plain_task_group
from .displays import Display, fitting_display
from .tally import Progress, Tally, Tracked

logger = logging.getLogger("sfjobs")

MIN_UPDATE_SECONDS = 0.2
MAX_UPDATE_SECONDS = 1.0
"""Time between two updates, which grows with the number of jobs."""

_JOBS_PER_SECOND = 10_000


@asynccontextmanager
async def shown(
    jobs: Iterable[Tracked], *, fetches: bool = False, display: Display | None = None
) -> AsyncIterator[None]:
    """``show`` for as long as the block runs. The block's exceptions are raised as they are, in no group."""
    async with plain_task_group() as group:
        group.start_soon(partial(show, jobs, fetches=fetches, display=display))
        yield
        group.cancel_scope.cancel()


async def show(jobs: Iterable[Tracked], *, fetches: bool = False, display: Display | None = None) -> None:
    """
    Show the progress of ``jobs`` until cancelled: run it beside the wait, in the same task group. With ``fetches`` their results
    are counted as well.
    """
    tally = Tally(jobs, anyio.current_time(), fetches=fetches)
    output = _SafeDisplay(display)
    try:
        while True:
            progress = tally.snapshot(anyio.current_time())
            output.call("show", progress)
            await anyio.sleep(pause_after(progress))
    finally:
        output.call("conclude", tally.snapshot(anyio.current_time()))


def pause_after(progress: Progress) -> float:
    """Return the seconds until the next update: with many jobs it costs more, and shows less that is new."""
    return min(max((progress.total - progress.ended) / _JOBS_PER_SECOND, MIN_UPDATE_SECONDS), MAX_UPDATE_SECONDS)


class _SafeDisplay:
    """A display until its first error: stderr may be closed, a pipe broken, a kernel gone."""

    def __init__(self, display: Display | None) -> None:
        self._display = display
        self._has_failed = False

    def call(self, method: Literal["show", "conclude"], progress: Progress) -> None:
        if self._has_failed:
            return
        try:
            self._display = self._display or fitting_display()
            if self._display is not None:
                getattr(self._display, method)(progress)
        except Exception as error:  # noqa: BLE001 - a wait of hours must not end for want of a display
            self._has_failed = True
            logger.debug("progress is not shown any more: %s: %s", type(error).__name__, error)
