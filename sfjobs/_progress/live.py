"""A display that is kept up to date beside a wait, and cannot disturb it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial

import anyio

from .._util.aio import plain_task_group
from .displays import Display, fitting_display
from .tally import Progress, Tally, Tracked

logger = logging.getLogger("sfjobs")

LEAST_PAUSE = 0.2
MOST_PAUSE = 1.0
"""Seconds between two looks, depending on how many jobs there are to look at."""

_JOBS_PER_SECOND = 10_000


@asynccontextmanager
async def shown(
    jobs: Iterable[Tracked], *, fetches: bool = False, display: Display | None = None
) -> AsyncIterator[None]:
    """``show`` for as long as the block runs. What the block raises comes out as it is, in no group."""
    async with plain_task_group() as group:
        group.start_soon(partial(show, jobs, fetches=fetches, display=display))
        yield
        group.cancel_scope.cancel()


async def show(jobs: Iterable[Tracked], *, fetches: bool = False, display: Display | None = None) -> None:
    """
    Shows how far ``jobs`` are, until it is cancelled: run it beside the wait, in the same task group. ``fetches`` says that
    results are fetched as well. Raises nothing of the display's: one that raises is left alone from then on.
    """
    tally = Tally(jobs, anyio.current_time(), fetches=fetches)
    screen = _Screen(display)
    try:
        while True:
            progress = tally.look(anyio.current_time())
            screen.show(progress)
            await anyio.sleep(pause_after(progress))
    finally:
        screen.conclude(tally.look(anyio.current_time()))


def pause_after(progress: Progress) -> float:
    """Seconds until the next look: a look at many jobs costs more, and tells less that is new."""
    return min(max((progress.total - progress.ended) / _JOBS_PER_SECOND, LEAST_PAUSE), MOST_PAUSE)


class _Screen:
    """A display as long as it works: stderr may be closed, a pipe broken, a kernel gone."""

    def __init__(self, display: Display | None) -> None:
        self._display = display
        self._works = True

    def show(self, progress: Progress) -> None:
        self._attempt(lambda display: display.show(progress))

    def conclude(self, progress: Progress) -> None:
        self._attempt(lambda display: display.conclude(progress))

    def _attempt(self, action: Callable[[Display], None]) -> None:
        if not self._works:
            return
        try:
            self._display = self._display or fitting_display()
            action(self._display)
        except Exception as error:  # noqa: BLE001 - a wait of hours must not end because nobody can see it
            self._works = False
            logger.debug("progress is not shown any more: %s: %s", type(error).__name__, error)
