from __future__ import annotations
import anyio, sfjobs, time
from ..contest import CADENCE, Run
from .watch_sfjobs import submitted
from ..fast.board import job_index
async def main() -> None:
    run = Run.from_command_line()
    task = run.task
    settings = sfjobs.Settings(url=task.url, api_key=task.api_key, poll_interval_min=CADENCE, poll_interval_max=CADENCE)
    async with sfjobs.Connection(settings=settings) as connection:
        jobs = [job async for job in submitted(connection, task.jobs)]
        run.begin()
        await sfjobs.wait_all(jobs, fetch_results=False)
        c=time.process_time()-run._cpu
        for job in jobs: run.seen[job_index(job.id)] = job.asked_at
        run.end()
anyio.run(main)
