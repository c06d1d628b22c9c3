"""sfjobs fetches results, into memory or, with the option ``mmap``, into a file that it maps."""

from __future__ import annotations

from typing import Any

import anyio

import sfjobs

from ..fetching import Array, Task, measure


async def main() -> None:
    task = Task.from_command_line()
    how: dict[str, Any] = {"mmap": True} if task.options.get("mmap") else {}
    settings = sfjobs.Settings(
        url=task.url, api_key=task.api_key, api_version=task.api_version, max_result_bytes=1 << 40
    )
    async with sfjobs.Connection(settings=settings) as connection:

        async def fetch(job: str) -> Array:
            return (await sfjobs.Job(job, "complete", connection).fetch_result(**how)).raw

        await measure(task, fetch)


if __name__ == "__main__":
    anyio.run(main)
