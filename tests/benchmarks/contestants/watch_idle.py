"""Waits for nothing: what the instruments measure when there is no client."""

from __future__ import annotations

import asyncio

from ..contest import Run


async def main() -> None:
    run = Run.from_command_line()
    run.begin()
    run.tick()
    await asyncio.sleep(run.task.options["seconds"])
    run.end()


if __name__ == "__main__":
    asyncio.run(main())
