"""
A parameter sweep: hundreds of circuits, handled in the order in which they finish.

    python examples/sweep.py --circuits 300 --plot sweep.png

Squeezed vacuum with the parameter r holds sinh(r)^2 photons on average; each circuit counts them for another r. Ctrl-C
loses nothing: it prints the ids of the jobs that were not handled, and `connection.get_job(id)` finds each again (on a
platform that ran before; a platform that this program has started ends with it).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import sfjobs
from sfjobs.platform import serving

CIRCUIT = """\
name squeezing_sweep
version 1.0
target simulon_gaussian (shots={shots})

Squeezed({r!r}) | 0
MeasureFock() | 0
"""


SUBMISSIONS = 16
"""Circuits that are being submitted at the same time."""


async def sweep(connection: sfjobs.Connection, values: list[float], shots: int) -> dict[float, float]:
    """The measured mean photon number for each r in ``values``."""
    jobs: dict[sfjobs.Job, float] = {}
    means: dict[float, float] = {}
    unsent = deque(values)

    async def submit() -> None:
        while unsent:
            r = unsent.popleft()
            job = await connection.create_job("simulon_gaussian", CIRCUIT.format(r=r, shots=shots), name="sweep")
            jobs[job] = r

    submitting = asyncio.gather(*(submit() for _ in range(SUBMISSIONS)))
    try:
        await asyncio.shield(submitting)
        async for job in sfjobs.as_completed(jobs):
            job.raise_for_status()
            means[jobs[job]] = float(job.result.mean_photon_number()[0])
    finally:
        # After Ctrl-C nothing more is sent. Submissions under way are finished, so that each job has an id.
        unsent.clear()
        await asyncio.wait([submitting])
        if left := [job.id for job, r in jobs.items() if r not in means]:
            print(f"{len(means)} of {len(values)} circuits were handled; these jobs were not:", *left, sep="\n  ")
    return means


def show(means: dict[float, float], shots: int) -> None:
    values = sorted(means)
    print(f"{'r':>6} {'measured':>10} {'sinh(r)^2':>10} {'sigmas':>7}")
    for r in values[:: max(1, len(values) // 12)]:
        expected = np.sinh(r) ** 2
        error = np.sqrt(2 * expected * (expected + 1) / shots)  # of the mean: squeezed vacuum is super-Poissonian
        print(f"{r:6.3f} {means[r]:10.4f} {expected:10.4f} {(means[r] - expected) / error:+7.1f}")


def plot(means: dict[float, float], shots: int, path: Path) -> None:
    from matplotlib.figure import Figure

    r = np.array(sorted(means))
    measured = np.array([means[value] for value in r.tolist()])
    expected = np.sinh(r) ** 2
    error = np.sqrt(2 * expected * (expected + 1) / shots)
    figure = Figure(figsize=(7, 5), dpi=120, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    above.plot(r, expected, color="#e07b39", label="sinh(r)²")
    above.plot(r, measured, ".", color="#3576b8", markersize=4, label=f"{len(r)} circuits, {shots:,} shots each")
    above.set_ylabel("mean photon number")
    above.legend(frameon=False)
    below.axhspan(-1, 1, color="#e5e7eb")
    below.plot(r, (measured - expected) / error, ".", color="#3576b8", markersize=4)
    below.set(xlabel="squeezing r", ylabel="deviation / σ")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    print(f"Wrote the picture to {path}.")


@contextmanager
def any_platform() -> Iterator[sfjobs.Settings]:
    """The platform that is configured, else one on this machine for as long as this program runs."""
    settings = sfjobs.Settings.find()
    if settings is not None:
        yield settings
        return
    print("No platform is configured: starting one on this machine.", flush=True)
    with serving() as platform:
        yield sfjobs.Settings(url=platform.url, api_key=platform.api_key, poll_interval_min=0.05)


async def main(settings: sfjobs.Settings, arguments: argparse.Namespace) -> None:
    values = np.linspace(0.02, 1.2, arguments.circuits).tolist()
    async with sfjobs.Connection(settings=settings) as connection:
        means = await sweep(connection, values, arguments.shots)
    show(means, arguments.shots)
    if arguments.plot is not None:
        plot(means, arguments.shots, arguments.plot)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Squeezing parameter against mean photon number.")
    parser.add_argument("--circuits", type=int, default=200, help="how many values of r (default: %(default)s)")
    parser.add_argument("--shots", type=int, default=2000, help="of each circuit (default: %(default)s)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the sweep to a picture")
    given = parser.parse_args()
    try:
        with any_platform() as settings:
            asyncio.run(main(settings, given))
    except KeyboardInterrupt:
        sys.exit(130)
