"""
xanadu-cloud-client fetches results: by ``Job.result``, widened to int64 and cached, or, with ``widens`` false, by the argument of
``Job.get_result`` that keeps the integer type.
"""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import numpy as np
import xcc

from ..fetching import Array, Task, measure


async def main() -> None:
    task = Task.from_command_line()
    url = urlsplit(task.url)
    connection = xcc.Connection(task.api_key, host=str(url.hostname), port=int(url.port or 80), tls=False)

    async def fetch(job: str) -> Array:
        one = xcc.Job(job, connection)
        result = one.result if task.options["widens"] else one.get_result(integer_overflow_protection=False)
        return np.asarray(result["output"][0])

    await measure(task, fetch)


if __name__ == "__main__":
    asyncio.run(main())
