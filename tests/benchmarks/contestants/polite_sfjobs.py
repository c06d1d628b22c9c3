"""sfjobs submits jobs one by one, waits for them and fetches their results; errors are counted and retried."""

from __future__ import annotations

import anyio

import sfjobs

from ..contest import Run
from ..fast.board import TARGET
from ..raw import PROGRAM


async def main() -> None:
    run = Run.from_command_line()
    task = run.task
    progress = {"submitted": 0, "results": 0, "raised": 0}
    run.notes["progress"] = progress
    async with sfjobs.Connection(task.url, api_key=task.api_key) as connection:
        run.begin()
        jobs: list[sfjobs.Job] = []
        while len(jobs) < task.jobs:
            try:
                jobs.append(await connection.create_job(TARGET, PROGRAM))
                progress["submitted"] += 1
            except sfjobs.RateLimitedError:
                progress["raised"] += 1
        while progress["results"] < task.jobs:
            async with sfjobs.as_completed([job for job in jobs if not job.has_result]) as completions:
                try:
                    async for _ in completions:
                        progress["results"] += 1
                except sfjobs.RateLimitedError:
                    progress["raised"] += 1
            progress["results"] = sum(job.has_result for job in jobs)
        run.end()


if __name__ == "__main__":
    anyio.run(main)
