"""
Time-domain programs: cluster states of one, two and four loops against the exact covariance of all their pulses, each in a
mode of its own, which is computed here with plain matrices; within a shot and from shot to shot.
"""

from __future__ import annotations

import math
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest
from scipy import stats

from sfjobs.platform.program import Array, ArrayParameter, Operation, Program, ProgramError
from sfjobs.platform.simulation import simulate

HALF = math.pi / 2


def op(name: str, *arguments: Any, modes: Any) -> Operation:
    return Operation(name, arguments, {}, tuple(modes), 3)


def tdm(bins: int, operations: list[Operation], bands: Any = None, **arrays: Any) -> Program:
    """``bands`` is left out of the program's options where it is None."""
    options = {"temporal_modes": bins} if bands is None else {"temporal_modes": bins, "N": bands}
    values = {name: np.asarray(array, dtype=float) for name, array in arrays.items()}
    return Program(operations=tuple(operations), type="tdm", type_options=options, arrays=values)


def is_variance(values: Array, exact: float) -> bool:
    """Whether independent values of mean 0 have this variance, by chi-square at p > 1e-4 on both sides."""
    total = float(np.sum(np.square(values)) / exact)
    return 1e-4 < stats.chi2.cdf(total, values.size) < 1 - 1e-4


def pulse_train(r: float, angles: list[float], *, phases: list[float] | None = None, measured: list[float]) -> Program:
    """One squeezed pulse in each time bin, and a delay loop of one bin behind a beam splitter."""
    bins = len(angles)
    operations = [
        op("Sgate", r, modes=[1]),
        op("BSgate", ArrayParameter("p0"), modes=[0, 1]),
        op("Rgate", ArrayParameter("p1"), modes=[1]),
        op("MeasureHomodyne", ArrayParameter("p2"), modes=[0]),
    ]
    return tdm(bins, operations, p0=angles, p1=phases or [0.0] * bins, p2=measured)


def exact_covariance(program: Program, bands: list[int], shots: int) -> Array:
    """
    The covariance of all readings in order of (shot, time bin, band). Each pulse has a mode of its own; hbar = 2. The operations
    are written out from the documentation of Strawberry Fields.
    """
    bins = int(program.type_options["temporal_modes"])  # type: ignore[arg-type]
    total = shots * bins
    starts = np.cumsum([0, *bands])[:-1]
    offsets = np.cumsum([0, *[size + total for size in bands]])
    m = int(offsets[-1])
    s = np.eye(2 * m)
    rows = []

    def rotate(mode: int, angle: float) -> None:
        c, d = math.cos(angle), math.sin(angle)
        s[[mode, mode + m]] = np.array([[c, -d], [d, c]]) @ s[[mode, mode + m]]

    for t in range(total):
        for operation in program.operations:
            values = [
                float(program.arrays[value.name].ravel()[t % bins])
                if isinstance(value, ArrayParameter)
                else float(value)  # type: ignore[arg-type]
                for value in operation.arguments
            ]
            modes = []
            for register in operation.modes:
                band = int(np.searchsorted(starts, register, side="right")) - 1
                modes.append(int(offsets[band] + register - starts[band] + t))
            if operation.name == "Sgate":
                s[modes[0]] *= math.exp(-values[0])
                s[modes[0] + m] *= math.exp(values[0])
            elif operation.name == "Rgate":
                rotate(modes[0], values[0])
            elif operation.name == "BSgate":
                c, d = math.cos(values[0]), math.sin(values[0])
                phase = values[1] if len(values) > 1 else 0.0
                rotate(modes[0], phase)  # a phase of phi is a rotation of the first mode before and back after
                for shift in (0, m):
                    pair = [modes[0] + shift, modes[1] + shift]
                    s[pair] = np.array([[c, -d], [d, c]]) @ s[pair]
                rotate(modes[0], -phase)
            else:
                angle = values[0] if values else 0.0
                rows.append(math.cos(angle) * s[modes[0]] + math.sin(angle) * s[modes[0] + m])
    readings = np.array(rows)
    return readings @ readings.T


def in_order(samples: Array) -> Array:
    """Samples (shots, bands, bins) as one stream in order of (shot, time bin, band)."""
    return samples.transpose(0, 2, 1).ravel()


def whitened(program: Program, bands: list[int], shots: int, seed: int) -> Array:
    """The stream of readings in terms of independent normal variables, if its covariance is the exact one."""
    samples = simulate(program, shots=shots, seed=seed).array
    assert samples.shape == (shots, len(bands), program.type_options["temporal_modes"])
    return np.linalg.solve(np.linalg.cholesky(exact_covariance(program, bands, shots)), in_order(samples))


def epr(bins: int, r: float, angle: float) -> Program:
    """Pulse 2k is stored and meets pulse 2k + 1 on a balanced beam splitter; the pair leaves in the bins 2k + 1 and 2k + 2."""
    bs = [0.0, math.pi / 4] * (bins // 2)
    return pulse_train(r, bs, phases=[HALF, 0.0] * (bins // 2), measured=[angle] * bins)


SHOTS = [1, 2, 400]


@pytest.mark.parametrize("shots", SHOTS)
@pytest.mark.parametrize(("r", "bins"), [(1.0, 4), (5.0, 6), (9.0, 4)])
def test_the_pairs_of_an_epr_stream_are_squeezed(shots: int, r: float, bins: int) -> None:
    """The last pair of each shot leaves half of it in the next: with loops that are emptied, its variance is e^2r."""
    exact = 2 * math.exp(-2 * r)
    for angle, sign in [(0.0, -1), (HALF, 1)]:
        stream = in_order(simulate(epr(bins, r, angle), shots=shots, seed=7).array)
        first, second = stream[1:-1:2], stream[2::2]
        nullifiers = [first + s * second for s in (1, -1)]
        squeezed = min(
            nullifiers, key=lambda values: float(np.var(values)) if values.size > 1 else abs(float(values[0]))
        )
        assert is_variance(squeezed, exact), sign


@pytest.mark.parametrize("shots", SHOTS)
def test_the_nullifiers_of_a_ghz_stream_are_squeezed(shots: int) -> None:
    """Three pulses each: the first is stored, then a third and half of the light stay; three combinations are squeezed."""
    r = 4.6
    angles = [0.0, math.acos(math.sqrt(1 / 3)), math.acos(math.sqrt(1 / 2))]
    for angle in (0.0, HALF):
        program = pulse_train(r, angles, phases=[HALF, 0, 0], measured=[angle] * 3)
        z = whitened(program, [2], shots, 5)
        assert is_variance(z, 1)
        cov = exact_covariance(program, [2], 2)[1:4, 1:4]  # one group of three, the last in the second shot
        values, vectors = np.linalg.eigh(cov)
        squeezed = values < 0.1
        assert squeezed.sum() == (2 if angle == 0.0 else 1) or squeezed.sum() == (1 if angle == 0.0 else 2)
        stream = in_order(simulate(program, shots=shots, seed=6).array)[1:]
        groups = stream[: len(stream) // 3 * 3].reshape(-1, 3)
        for value, vector in zip(values[squeezed], vectors.T[squeezed], strict=True):
            assert value == pytest.approx(math.exp(-2 * r), rel=1e-3)
            assert not groups.size or is_variance(groups @ vector, value)


CLUSTERS: dict[str, tuple[list[int], list[Operation]]] = {
    "one loop": (
        [2],
        [
            op("Sgate", 1.5, modes=[1]),
            op("BSgate", ArrayParameter("p0"), 0.3, modes=[0, 1]),
            op("Rgate", ArrayParameter("p1"), modes=[1]),
            op("MeasureHomodyne", ArrayParameter("p2"), modes=[0]),
        ],
    ),
    "one-dimensional cluster, N=[1, 2]": (
        [1, 2],
        [
            op("Sgate", 1.5, modes=[0]),
            op("Sgate", -1.5, modes=[2]),
            op("BSgate", math.pi / 4, modes=[0, 2]),
            op("BSgate", ArrayParameter("p0"), modes=[0, 1]),
            op("MeasureHomodyne", ArrayParameter("p1"), modes=[0]),
            op("MeasureHomodyne", ArrayParameter("p2"), modes=[1]),
        ],
    ),
    "two-dimensional cluster, N=[1, 14]": (
        [1, 14],
        [
            op("Sgate", 1.2, modes=[0]),
            op("Sgate", -1.2, modes=[14]),
            op("BSgate", ArrayParameter("p0"), modes=[0, 14]),
            op("BSgate", math.pi / 4, 0.4, modes=[0, 1]),
            op("MeasureHomodyne", ArrayParameter("p1"), modes=[0]),
            op("MeasureHomodyne", ArrayParameter("p2"), modes=[1]),
        ],
    ),
    "two-dimensional cluster, N=[1, 2, 6, 1]": (
        [1, 2, 6, 1],
        [
            *[op("Sgate", r, modes=[mode]) for r, mode in [(1.2, 0), (-1.2, 2), (1.1, 8), (-1.1, 9)]],
            op("BSgate", ArrayParameter("p0"), modes=[0, 2]),
            op("BSgate", 0.7, modes=[8, 9]),
            op("BSgate", math.pi / 4, modes=[1, 0]),
            op("BSgate", 0.5, modes=[3, 9]),
            op("BSgate", math.pi / 4, modes=[0, 3]),
            *[op("MeasureHomodyne", ArrayParameter("p1"), modes=[mode]) for mode in (0, 1, 3)],
            op("MeasureHomodyne", ArrayParameter("p2"), modes=[9]),
        ],
    ),
}


@pytest.mark.parametrize("shots", [1, 2, 12])
@pytest.mark.parametrize("name", CLUSTERS)
def test_a_cluster_state_has_the_exact_covariance_within_and_between_shots(name: str, shots: int) -> None:
    bands, operations = CLUSTERS[name]
    random = np.random.default_rng(3)
    arrays = {f"p{i}": random.uniform(0, 2, 5) for i in range(3)}
    program = tdm(5, operations, None if len(bands) == 1 else tuple(bands), **arrays)
    cov = exact_covariance(program, bands, shots)
    inverse = np.linalg.inv(np.linalg.cholesky(cov))
    runs = 100
    z = np.array([inverse @ in_order(simulate(program, shots=shots, seed=seed).array) for seed in range(runs)])
    assert is_variance(z, 1)
    products = z.T @ z / math.sqrt(runs)  # every correlation: the whitened readings are independent
    assert np.max(np.abs(products[~np.eye(len(cov), dtype=bool)])) < 6.5


def test_heterodyne_of_a_loop_adds_the_noise_of_the_vacuum() -> None:
    operations = [
        op("Sgate", 1.0, modes=[1]),
        op("BSgate", math.pi / 4, modes=[0, 1]),
        op("MeasureHeterodyne", modes=[0]),
    ]
    samples = simulate(tdm(3, operations), shots=3000, seed=1).array.ravel()
    assert samples.dtype == np.complex128
    x = exact_covariance(tdm(3, [*operations[:2], op("MeasureHomodyne", modes=[0])]), [2], 20)
    for lag in (0, 1, 3):
        expected = x[40, 40 - lag] + (lag == 0)
        products = 4 * samples.real[lag:] * samples.real[: samples.size - lag]
        assert products.mean() == pytest.approx(expected, abs=6 * products.std() / math.sqrt(len(products) / 6))


def test_a_stream_of_1e5_time_bins_runs_in_bounded_memory() -> None:
    bins = 100_000
    angles = np.tile([0.0, math.pi / 4], bins // 2)
    operations = [
        op("Sgate", 5.0, modes=[1]),
        op("Rgate", ArrayParameter("p1"), modes=[1]),
        op("BSgate", ArrayParameter("p0"), modes=[1, 0]),
        op("MeasureX", modes=[0]),
    ]
    program = tdm(bins, operations, p0=angles, p1=np.tile([0.0, HALF], bins // 2))
    tracemalloc.start()
    try:
        stream = in_order(simulate(program, shots=1, seed=1).array)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6
    pair = stream[1:-1:2], stream[2::2]
    assert is_variance(min((pair[0] + pair[1], pair[0] - pair[1]), key=np.var), 2 * math.exp(-10))


def test_photon_counts_of_two_bands_start_with_empty_loops() -> None:
    operations = [op("Sgate", 0.5, modes=[0]), op("Sgate", 0.8, modes=[2]), op("MeasureFock", modes=[0, 1])]
    samples = simulate(tdm(3, operations, (1, 2)), shots=20_000, seed=2)
    assert samples.array.shape == (20_000, 2, 3)
    one, two = math.sinh(0.5) ** 2, math.sinh(0.8) ** 2
    np.testing.assert_allclose(samples.array.mean(axis=0), [[one] * 3, [0, two, two]], rtol=0.08)
    assert samples.meta["loops"] == "emptied at each shot"


def test_a_space_unrolled_program_is_an_ordinary_one() -> None:
    operations = []
    for t in range(3):
        operations += [
            op("Sgate", 1.0, modes=[t + 1]),
            op("BSgate", 0.3 + t, modes=[t, t + 1]),
            op("MeasureX", modes=[t]),
        ]
    program = Program(operations=tuple(operations), type="tdm", type_options={"temporal_modes": 3})
    rolled = tdm(
        3,
        [op("Sgate", 1.0, modes=[1]), op("BSgate", ArrayParameter("p0"), modes=[0, 1]), op("MeasureX", modes=[0])],
        p0=[0.3, 1.3, 2.3],
    )
    samples = simulate(program, shots=4000, seed=4).array
    assert samples.shape == (4000, 1, 3)
    whitened = np.linalg.solve(np.linalg.cholesky(exact_covariance(rolled, [2], 1)), samples[:, 0].T)
    assert is_variance(whitened, 1)
    assert np.abs(np.corrcoef(whitened) - np.eye(3)).max() < 0.08


@pytest.mark.parametrize(
    ("program", "shots", "code", "words"),
    [
        (tdm(3, [op("MeasureX", modes=[0]), op("MeasureX", modes=[1])]), 1, "unsupported-circuit", "without N"),
        (tdm(3, [op("MeasureX", modes=[0]), op("MeasureX", modes=[2])], (1, 1)), 1, "unsupported-circuit", "add up"),
        (tdm(3, [op("MeasureX", modes=[0])], (0, 1)), 1, "unsupported-circuit", "positive"),
        (tdm(3, [op("MeasureX", modes=[0]), op("MeasureX", modes=[0])]), 1, "unsupported-circuit", "measured"),
        (tdm(10**9, [op("MeasureX", modes=[0])]), 1, "simulation-limit", "bytes"),
        (
            tdm(10**7, [*[op("Rgate", 1.0, modes=[0])] * 10, op("MeasureX", modes=[0])]),
            1,
            "simulation-limit",
            "110000000 steps",
        ),
        (
            tdm(2000, [op("Sgate", 0.5, modes=[1]), op("MeasureFock", modes=[0])]),
            9,
            "simulation-limit",
            "2001 modes; at most 1024",
        ),
        (tdm(100, [op("Sgate", 2.0, modes=[0]), op("Rgate", 0.0, modes=[1]), op("MeasureX", modes=[1])]), 1, "", ""),
        (
            tdm(100, [op("Sgate", 2.0, modes=[2]), op("Sgate", 2.0, modes=[0]), op("MeasureX", modes=[1])], (3,)),
            1,
            "",
            "",
        ),
    ],
)
def test_a_program_that_cannot_be_simulated_is_refused(program: Program, shots: int, code: str, words: str) -> None:
    if not code:
        simulate(program, shots=shots, seed=1)
        return
    with pytest.raises(ProgramError, match=words) as caught:
        simulate(program, shots=shots)
    assert caught.value.code == code


@pytest.mark.parametrize("value", [1e300, math.nan, -19.0])
def test_a_value_that_cannot_run_is_refused_before_the_stream_runs(value: float) -> None:
    bins = 1_000_000
    r = np.zeros(bins)
    r[-3] = value
    program = tdm(bins, [op("Sgate", ArrayParameter("p0"), modes=[1]), op("MeasureX", modes=[0])], p0=r)
    started = time.process_time()
    with pytest.raises(ProgramError, match=r"r = -?1|r must be finite"):
        simulate(program, shots=1)
    assert time.process_time() - started < 2


def test_light_that_grows_in_a_loop_is_refused() -> None:
    """The register of band [1] is never emptied but measured; one of a longer band that is squeezed in each bin keeps growing."""
    operations = [
        op("Sgate", 6.0, modes=[1]),
        op("Sgate", 6.0, modes=[2]),
        op("Sgate", 6.0, modes=[3]),
        op("MeasureP", modes=[0]),
    ]
    with pytest.raises(ProgramError, match="grows") as caught:
        simulate(tdm(100, operations), shots=1, seed=1)
    assert caught.value.code == "simulation-limit"


def test_the_old_name_of_the_photon_counter_counts_photons() -> None:
    """``Measure`` used to be read as a heterodyne detector, without its imaginary part."""
    gates = [op("Sgate", 0.5, modes=[1]), op("BSgate", 0.3, 0.2, modes=[0, 1])]
    old, new = (
        simulate(tdm(3, [*gates, op(name, modes=[0])]), shots=20, seed=1).array for name in ("Measure", "MeasureFock")
    )
    assert old.dtype == np.uint8
    assert np.array_equal(old, new)
