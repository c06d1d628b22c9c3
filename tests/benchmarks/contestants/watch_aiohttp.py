"""
aiohttp without a library: one task per job that polls each second, which is the simplest program. With the option ``batched``, it
polls all unfinished jobs each second in list requests of 100. One session for all.
"""

from __future__ import annotations

import asyncio

import aiohttp

from ..contest import BATCH, CADENCE, Run

FINAL = ("cancelled", "complete", "failed")


async def main() -> None:
    run = Run.from_command_line()
    task = run.task
    watch = batched if task.options.get("batched") else naive
    async with aiohttp.ClientSession(task.url, headers=task.headers, raise_for_status=True) as session:
        async with session.get("/healthz") as answer:
            await answer.read()
        run.begin()
        run.tick()
        await watch(run, session)
        run.end()


async def naive(run: Run, session: aiohttp.ClientSession) -> None:
    async def wait(id_: str) -> None:
        while True:
            async with session.get(f"/jobs/{id_}") as answer:
                job = await answer.json()
            if job["status"] in FINAL:
                run.saw(id_)
                return
            await asyncio.sleep(CADENCE)

    await asyncio.gather(*[wait(id_) for id_ in run.ids])


async def batched(run: Run, session: aiohttp.ClientSession) -> None:
    left = dict.fromkeys(run.ids)

    async def poll(ids: list[str]) -> None:
        params = [("size", str(len(ids))), *(("id", id_) for id_ in ids)]
        async with session.get("/jobs", params=params) as answer:
            jobs = (await answer.json())["data"]
        for job in jobs:
            if job["status"] in FINAL:
                run.saw(job["id"])
                del left[job["id"]]

    loop = asyncio.get_running_loop()
    due = loop.time()
    while left:
        ids = list(left)
        await asyncio.gather(*[poll(ids[first : first + BATCH]) for first in range(0, len(ids), BATCH)])
        due += CADENCE
        await asyncio.sleep(due - loop.time())


if __name__ == "__main__":
    asyncio.run(main())
