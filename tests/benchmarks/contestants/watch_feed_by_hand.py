"""
The change feed by hand with aiohttp: one sweep of lists, then one stream from the cursor of the first of them. The least that a
client of the feed can do in Python, with no thought for what may go wrong.
"""

from __future__ import annotations

import asyncio
import json

import aiohttp

from ..contest import BATCH, Run

FINAL = ("cancelled", "complete", "failed")


async def main() -> None:
    run = Run.from_command_line()
    left = dict.fromkeys(run.ids)

    def take(job: dict[str, str]) -> None:
        if job["status"] in FINAL and job["id"] in left:
            run.saw(job["id"])
            del left[job["id"]]

    async with aiohttp.ClientSession(run.task.url, headers=run.task.headers, raise_for_status=True) as session:
        async with session.get("/healthz") as answer:
            await answer.read()
        run.begin()
        run.tick()
        path = ""
        for first in range(0, len(run.ids), BATCH):
            params = [("size", str(BATCH)), *(("id", id_) for id_ in run.ids[first : first + BATCH])]
            async with session.get("/jobs", params=params) as answer:
                path = path or str(answer.links["monitor"]["url"])
                for job in (await answer.json())["data"]:
                    take(job)
        async with session.get(path, timeout=aiohttp.ClientTimeout(total=None)) as answer:
            while left:
                line = await answer.content.readline()
                if line.startswith(b"data: {"):
                    take(json.loads(line[6:]))
        run.end()


if __name__ == "__main__":
    asyncio.run(main())
