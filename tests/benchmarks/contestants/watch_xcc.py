"""
xanadu-cloud-client waits for all jobs: ``Job.wait`` in one thread per job, or, with the option ``list``, one loop over
``Job.list`` of 100 ids at a time.
"""

from __future__ import annotations

import threading
import time
from urllib.parse import urlsplit

import xcc

from ..contest import BATCH, CADENCE, Run

FINAL = ("cancelled", "complete", "failed")


def main() -> None:
    run = Run.from_command_line()
    url = urlsplit(run.task.url)
    connection = xcc.Connection(run.task.api_key, host=str(url.hostname), port=int(url.port or 80), tls=False)
    connection.ping()  # fetches the token once, before the threads would
    watch = in_one_loop if run.task.options.get("list") else in_threads
    run.begin()
    watch(run, connection)
    run.end()


def in_threads(run: Run, connection: xcc.Connection) -> None:
    def wait(id_: str) -> None:
        xcc.Job(id_, connection).wait()
        run.saw(id_)

    threads = [threading.Thread(target=wait, args=(id_,), daemon=True) for id_ in run.ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def in_one_loop(run: Run, connection: xcc.Connection) -> None:
    left = dict.fromkeys(run.ids)
    due = time.monotonic()
    while left:
        ids = list(left)
        for first in range(0, len(ids), BATCH):
            for job in xcc.Job.list(connection, ids=ids[first : first + BATCH]):
                if job.status in FINAL:
                    run.saw(job.id)
                    del left[job.id]
        due += CADENCE
        time.sleep(max(due - time.monotonic(), 0.0))


if __name__ == "__main__":
    main()
