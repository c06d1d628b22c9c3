"""
httpx without a library: one task per job that polls each second, which is the simplest program, or, with the option ``batched``,
all unfinished jobs each second in list requests of 100. One client for all, with a timeout for a free connection.
"""

from __future__ import annotations

import asyncio

import httpx

from ..contest import BATCH, CADENCE, Run

FINAL = ("cancelled", "complete", "failed")


async def main() -> None:
    run = Run.from_command_line()
    task = run.task
    watch = batched if task.options.get("batched") else naive
    async with httpx.AsyncClient(base_url=task.url, headers=task.headers, timeout=httpx.Timeout(60.0)) as client:
        (await client.get("/healthz")).raise_for_status()
        run.begin()
        run.tick()
        await watch(run, client)
        run.end()


async def naive(run: Run, client: httpx.AsyncClient) -> None:
    async def wait(id_: str) -> None:
        while True:
            answer = await client.get(f"/jobs/{id_}")
            answer.raise_for_status()
            if answer.json()["status"] in FINAL:
                run.saw(id_)
                return
            await asyncio.sleep(CADENCE)

    await asyncio.gather(*[wait(id_) for id_ in run.ids])


async def batched(run: Run, client: httpx.AsyncClient) -> None:
    left = dict.fromkeys(run.ids)

    async def poll(ids: list[str]) -> None:
        answer = await client.get("/jobs", params={"size": len(ids), "id": ids})
        answer.raise_for_status()
        for job in answer.json()["data"]:
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
