"""curl reads results and keeps nothing. Its time includes the start of a process."""

from __future__ import annotations

import asyncio
import subprocess

from ..fetching import Task, measure


async def main() -> None:
    task = Task.from_command_line()
    headers = [word for name, value in task.headers.items() for word in ("-H", f"{name}: {value}")]

    async def fetch(job: str) -> int:
        command = ["curl", "-sS", "-f", "-o", "/dev/null", "-w", "%{size_download}", *headers]
        done = subprocess.run([*command, f"{task.url}/jobs/{job}/result"], check=True, capture_output=True, text=True)  # noqa: ASYNC221 - nothing else runs
        return int(done.stdout)

    await measure(task, fetch)


if __name__ == "__main__":
    asyncio.run(main())
