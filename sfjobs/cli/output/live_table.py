"""``sfjobs list --watch``: the table again and again, in place on a terminal, below each other elsewhere when it has changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext

import anyio
from rich.live import Live
from rich.padding import Padding
from rich.text import Text

from ..._jobs.job import Job
from ..context import stdout
from .tables import job_table, no_jobs, write


async def keep_showing(ask: Callable[[], Awaitable[list[Job]]], interval: float, status: str | None) -> None:
    """Until cancelled: asks, shows, and waits ``interval`` seconds."""
    console = stdout()
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    shown = None
    with live or nullcontext():
        while True:
            jobs = await ask()
            picture = Padding(job_table(console, jobs) if jobs else Text(no_jobs(status)), (0, 0, 0, 2), expand=False)
            state = [job.snapshot for job in jobs]
            if live is not None:
                live.update(picture, refresh=True)
            elif state != shown:
                write(console, picture)
                console.file.flush()
            shown = state
            await anyio.sleep(interval)
