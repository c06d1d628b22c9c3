"""
httpx without a library: submits jobs one by one, polls all each second in list requests of 100, fetches results over 32
connections, and retries after the ``Retry-After`` of a 429.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from ..contest import BATCH, CADENCE, Run
from .submit_by_hand import JOB

MAX_CONNECTIONS = 32


async def main() -> None:
    run = Run.from_command_line()
    task = run.task
    progress = {"submitted": 0, "results": 0, "raised": 0}
    run.notes["progress"] = progress
    free = asyncio.Semaphore(MAX_CONNECTIONS)
    async with httpx.AsyncClient(base_url=task.url, headers=task.headers, timeout=60.0) as client:

        async def send(method: str, path: str, **content: Any) -> httpx.Response:
            while True:
                async with free:
                    answer = await client.request(method, path, **content)
                if answer.status_code != 429:
                    return answer.raise_for_status()
                await asyncio.sleep(float(answer.headers["retry-after"]))

        async def fetch(id_: str) -> None:
            await send("GET", f"/jobs/{id_}/result")
            progress["results"] += 1

        run.begin()
        left: list[str] = []
        while len(left) < task.jobs:
            left.append((await send("POST", "/jobs", json=JOB)).json()["id"])
            progress["submitted"] += 1
        while left:
            ended = set()
            for first in range(0, len(left), BATCH):
                ids = left[first : first + BATCH]
                answer = await send("GET", "/jobs", params={"size": len(ids), "id": ids})
                ended |= {job["id"] for job in answer.json()["data"] if job["status"] == "complete"}
            await asyncio.gather(*[fetch(id_) for id_ in ended])
            left = [id_ for id_ in left if id_ not in ended]
            await asyncio.sleep(CADENCE if left else 0)
        run.end()


if __name__ == "__main__":
    asyncio.run(main())
