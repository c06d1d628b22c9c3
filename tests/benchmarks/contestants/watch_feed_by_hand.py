"""
The change feed without a library, with aiohttp: list requests for all jobs once, then one stream from the cursor of the first
response. It is the minimum for a client of the feed in Python, without error handling.
"""

from __future__ import annotations

import asyncio
import json

import aiohttp

from ..contest import BATCH, Run

FINAL = ("cancelled", "complete", "failed")


async def main() -> None:
    run = Run.from_command_line()
    run.weigh()
    left = dict.fromkeys(run.ids)

    def receive(job: dict[str, str]) -> None:
        if job["status"] in FINAL and job["id"] in left:
            run.saw(job["id"])
            del left[job["id"]]

    async with aiohttp.ClientSession(run.task.url, headers=run.task.headers, raise_for_status=True) as session:
        async with session.get("/healthz") as response:
            await response.read()
        run.begin()
        run.tick()
        path = ""
        for first in range(0, len(run.ids), BATCH):
            params = [("size", str(BATCH)), *(("id", id_) for id_ in run.ids[first : first + BATCH])]
            async with session.get("/jobs", params=params) as response:
                path = path or str(response.links["monitor"]["url"])
                for job in (await response.json())["data"]:
                    receive(job)
        async with session.get(path, timeout=aiohttp.ClientTimeout(total=None)) as response:
            while left:
                line = await response.content.readline()
                if line.startswith(b"data: {"):
                    receive(json.loads(line[6:]))
        run.end()


if __name__ == "__main__":
    asyncio.run(main())
