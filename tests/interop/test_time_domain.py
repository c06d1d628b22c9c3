"""Time-domain programs by the local engine of Strawberry Fields 0.23 and by our simulation: the same covariance of readings."""

from __future__ import annotations

import importlib
import math
import warnings
from typing import Any

import numpy as np
import pytest

from sfjobs.platform.blackbird import parse
from sfjobs.platform.simulation import simulate


def imported(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=f"{name} is not installed: run `nox -s interop`")


sf = imported("strawberryfields")
ops = importlib.import_module("strawberryfields.ops")

pytestmark = [pytest.mark.interop]

RUNS = 400
ANGLES = [[0.0, 0.8, 1.2], [0.3, 1.0, 2.0], [0.1, 1.5, 0.7]]


def one_loop(p: Any, q: Any) -> None:
    ops.Sgate(1.2, 0) | q[1]
    ops.BSgate(p[0], 0.3) | (q[0], q[1])
    ops.Rgate(p[1]) | q[1]
    ops.MeasureHomodyne(p[2]) | q[0]


def two_bands(p: Any, q: Any) -> None:
    ops.Sgate(1.2, 0) | q[0]
    ops.Sgate(-1.0, 0) | q[2]
    ops.BSgate(p[0], 0.3) | (q[0], q[2])
    ops.BSgate(math.pi / 4, 0.0) | (q[0], q[1])
    ops.MeasureHomodyne(p[1]) | q[0]
    ops.MeasureHomodyne(p[2]) | q[1]


@pytest.mark.parametrize(("bands", "circuit"), [([2], one_loop), ([1, 2], two_bands)], ids=["one loop", "N=[1,2]"])
def test_the_covariance_of_the_readings_of_two_shots_is_that_of_the_local_engine(
    bands: list[int], circuit: Any
) -> None:
    program, sent = sf.TDMProgram(N=bands), sf.TDMProgram(N=bands)
    for each in (program, sent):
        with each.context(*ANGLES) as (p, q):
            circuit(p, q)
    script = sf.io.to_blackbird(sent).serialize()  # which changes the parameters of what it is given
    text = script.replace("temporal_modes=3", f"temporal_modes=3, N={bands}")
    assert text != script
    ours = simulate(parse(text), shots=RUNS * 20, seed=1).array
    np.random.seed(5)  # noqa: NPY002 - the local engine draws from the global generator
    results = []
    for _ in range(RUNS):
        samples = sf.Engine("gaussian").run(program, shots=2).samples_dict
        results.append(np.stack([samples[band] for band in sorted(samples)], axis=1))
    theirs = np.array(results)  # (runs, shots, bands, bins)
    assert theirs.shape[1:] == (2, *ours.shape[1:])
    # the second shot of the local engine is a shot in the middle of our stream; hbar is 2 in both
    first, second = ours[20:-1].reshape(len(ours) - 21, -1), ours[21:].reshape(len(ours) - 21, -1)
    own = np.cov(second.T)
    other = np.cov(theirs[:, 1].reshape(RUNS, -1).T)
    scale = np.sqrt(np.outer(np.diag(own), np.diag(own)))
    assert np.max(np.abs(own - other) / scale) < 6 / math.sqrt(RUNS)
    lagged = (first - first.mean(0)).T @ (second - second.mean(0)) / len(first)
    rows = theirs.reshape(RUNS, 2, -1)
    their_lagged = rows[:, 0].T @ rows[:, 1] / RUNS
    assert np.max(np.abs(lagged - their_lagged) / scale) < 6 / math.sqrt(RUNS)
