"""
sfjobs submits all jobs by ``create_jobs``, with a window of all jobs. With the option ``journal``, a path, each job is on disk
before it is sent.
"""

from __future__ import annotations

import anyio

import sfjobs

from ..contest import Run
from .watch_sfjobs import submitted


async def main() -> None:
    run = Run.from_command_line()
    settings = sfjobs.Settings(
        url=run.task.url, api_key=run.task.api_key, journal=run.task.options.get("journal", "off")
    )
    async with sfjobs.Connection(settings=settings) as connection:
        await connection.ping()
        run.begin()
        jobs = [job async for job in submitted(connection, run.task.jobs)]
        run.end(submitted=len(jobs))


if __name__ == "__main__":
    anyio.run(main)
