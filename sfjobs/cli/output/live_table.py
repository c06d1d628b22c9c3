"""``sfjobs list --watch``: the table of jobs, updated in place on a terminal, printed again after each change elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext

import anyio
from rich.live import Live

from ..._jobs.job import Job
from ..context import can_move, stdout
from .tables import indentation, job_table, no_jobs, write


async def keep_showing(fetch: Callable[[], Awaitable[list[Job]]], interval: float, statuses: Sequence[str]) -> None:
    """Fetch and show jobs every ``interval`` seconds until cancelled."""
    console = stdout()
    live = Live(console=console, auto_refresh=False) if can_move(console) else None
    shown = None
    with live or nullcontext():
        while True:
            jobs = await fetch()
            table = indentation(job_table(console, jobs) if jobs else no_jobs(statuses))
            snapshots = [job.snapshot for job in jobs]
            if live is not None:
                live.update(table, refresh=True)
            elif snapshots != shown:
                write(console, table)
                console.file.flush()
            shown = snapshots
            await anyio.sleep(interval)
