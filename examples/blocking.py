"""
A blocking script: the names of the async API, from ``sfjobs.sync``, without ``await``.

    python examples/blocking.py

It samples one squeezed state split on a beamsplitter, then several at once, and catches the refusal of a program that cannot run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sfjobs
from sfjobs.platform import serving
from sfjobs.sync import Connection, RemoteEngine, as_completed

PROGRAM = """\
name split
version 1.0
target simulon_gaussian (shots=2000)

Sgate({r}) | 0
BSgate() | [0, 1]
MeasureFock() | [0, 1]
"""


def one_after_the_other(connection: Connection) -> None:
    with RemoteEngine("simulon_gaussian", connection) as engine:
        result = engine.run(PROGRAM.format(r=0.8), timeout=60)
    print(f"one: {result.shots} shots, {result.mean_photon_number().sum():.3f} photons on average")
    for pattern, count in result.counts().most_common(3):
        print(f"  {pattern}: {count}")


def several_at_once(connection: Connection) -> None:
    jobs = {connection.create_job("simulon_gaussian", PROGRAM.format(r=r)): r for r in (0.2, 0.5, 0.8, 1.1)}
    for job in as_completed(jobs, timeout=60):
        print(f"several: r = {jobs[job]}: {job.result.mean_photon_number().sum():.3f} photons on average")


def one_that_is_refused(connection: Connection) -> None:
    try:
        connection.create_job("simulon_gaussian", PROGRAM.format(r=30), name="too_bright")
    except sfjobs.ConflictError as error:
        print(f"refused: {error.detail}")


@contextmanager
def any_platform() -> Iterator[sfjobs.Settings]:
    """The platform that is configured, else one on this machine for as long as this program runs."""
    settings = sfjobs.Settings.find()
    if settings is not None:
        yield settings
        return
    print("No platform is configured: starting one on this machine.")
    with serving() as platform:
        yield sfjobs.Settings(url=platform.url, api_key=platform.api_key, poll_interval_min=0.05)


if __name__ == "__main__":
    with any_platform() as settings, Connection(settings=settings) as connection:
        one_after_the_other(connection)
        several_at_once(connection)
        one_that_is_refused(connection)
