"""
A client that is killed again and again. This process has loaded everything and forks a child for each line of standard input,
``{"url": ..., "journal": ..., "most": 20, "how": "by names"}``. It prints the pid, waits for a line, lets the child run, and
prints its exit code.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio

import sfjobs
import sfjobs.sync  # loads everything
from sfjobs._http.retry import Retry
from tests.benchmarks.fast.board import KEY, TARGET
from tests.support.journals import rows

JOBS = 1000
DONE = 0
NOT_DONE = 3


def name(number: int) -> str:
    return f"job-{number:04}"


def program(number: int) -> str:
    return f"name None\nversion 1.0\ntarget {TARGET} (shots=10)\n\nSgate(0.{number + 1:05}) | 0\nMeasureFock() | 0\n"


async def work(url: str, journal: str, most: int) -> int:
    """Settle open submissions, submit up to ``most`` programs that the journal does not have, and settle again."""
    settings = sfjobs.Settings(url=url, api_key=KEY, journal=journal, retries=2)
    async with sfjobs.Connection(settings=settings) as connection:
        await connection.recover()
        known = {row["name"] for row in rows(Path(journal)) if row["state"] in ("open", "submitted")}
        left = [number for number in range(JOBS) if name(number) not in known]
        programs = [sfjobs.Submission(program(number), name=name(number)) for number in left[:most]]
        async for _ in connection.create_jobs(TARGET, programs, window=JOBS):
            pass
        recovery = await connection.recover()
        return NOT_DONE if recovery.unknown or len(left) > len(programs) else DONE


async def work_as_a_group(url: str, journal: str, most: int) -> int:
    """Run the same script each time: add all programs, and submit those that are left."""
    settings = sfjobs.Settings(url=url, api_key=KEY, journal=journal, retries=2)
    async with sfjobs.Connection(settings=settings) as connection:
        group = await sfjobs.JobGroup.open("crashes", connection)
        await group.add_all(TARGET, [sfjobs.Submission(program(number), name=name(number)) for number in range(JOBS)])
        progress = await group.submit()
        return NOT_DONE if progress.added or progress.in_doubt else DONE


WAYS = {"by names": work, "as a group": work_as_a_group}


def main() -> None:
    # The pauses between attempts would be most of the time of the test, and have their own tests.
    Retry.__init__.__kwdefaults__["base"] = 0.02
    for line in sys.stdin:
        task: dict[str, Any] = json.loads(line)
        start, start_writer = os.pipe()
        child = os.fork()
        if not child:
            os.read(start, 1)
            os._exit(anyio.run(WAYS[task["how"]], task["url"], task["journal"], task["most"]))
        print(json.dumps(child), flush=True)
        sys.stdin.readline()
        os.write(start_writer, b"!")
        os.close(start)
        os.close(start_writer)
        print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])), flush=True)


if __name__ == "__main__":
    main()
