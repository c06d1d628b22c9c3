"""
sfjobs submits all jobs by ``create_jobs``, with a window as wide as there are jobs. With the option ``journal`` each is on disk
before it is sent, in a new file of the folder for temporary ones.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import anyio

import sfjobs

from ..contest import Run
from .watch_sfjobs import submitted


async def main() -> None:
    run = Run.from_command_line()
    journal = str(Path(tempfile.mkdtemp()) / "submissions.db") if run.task.options.get("journal") else "off"
    settings = sfjobs.Settings(url=run.task.url, api_key=run.task.api_key, journal=journal)
    async with sfjobs.Connection(settings=settings) as connection:
        await connection.ping()
        run.begin()
        jobs = [job async for job in submitted(connection, run.task.jobs)]
        run.end(submitted=len(jobs))


if __name__ == "__main__":
    anyio.run(main)
