"""sfjobs waits for all jobs: handles from its own submissions, or from bare ids."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio

import sfjobs

from ..contest import CADENCE, Run
from ..fast.board import TARGET
from ..raw import PROGRAM


async def main() -> None:
    run = Run.from_command_line()
    task = run.task
    settings = sfjobs.Settings(url=task.url, api_key=task.api_key, poll_interval_min=CADENCE, poll_interval_max=CADENCE)
    async with sfjobs.Connection(settings=settings) as connection:
        if task.options.get("submits"):
            jobs = [job async for job in submitted(connection, task.jobs)]
        else:
            await connection.ping()
            run.weigh()
            jobs = [sfjobs.Job(id_, "open", connection) for id_ in run.ids]
        run.begin()
        run.tick()
        async for job in sfjobs.as_completed(jobs, fetch_results=False):
            run.saw(job.id)
        run.end()


async def submitted(connection: sfjobs.Connection, count: int) -> AsyncIterator[sfjobs.Job]:
    """Submit this many jobs and return them."""
    async for job in connection.create_jobs(TARGET, (PROGRAM for _ in range(count)), window=count):
        if isinstance(job, sfjobs.Refusal):
            raise job.error
        yield job


if __name__ == "__main__":
    anyio.run(main)
