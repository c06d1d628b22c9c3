"""
Published Borealis programs by Strawberry Fields 0.23 against a started platform: ``borealis_gbs``, ``full_compile``, both
engines, and photon numbers against the state that Strawberry Fields' own backend has with ``realistic_loss``.
"""

from __future__ import annotations

import importlib
import logging
import math
import warnings
from collections.abc import AsyncIterator
from typing import Any

import anyio
import numpy as np
import numpy.typing as npt
import pytest

import sfjobs
import sfjobs.results
from sfjobs.platform import Platform
from sfjobs.platform.blackbird import parse
from sfjobs.platform.simulation.time_domain import crop_of, read_time_domain


def imported(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=f"{name} is not installed: run `nox -s interop`")


sf = imported("strawberryfields")
xcc = imported("xcc")
ops = importlib.import_module("strawberryfields.ops")
tdm = importlib.import_module("strawberryfields.tdm")
utils = importlib.import_module("strawberryfields.tdm.utils")

pytestmark = [
    pytest.mark.interop,
    pytest.mark.real_time,
    pytest.mark.filterwarnings("ignore::ResourceWarning:requests"),
    pytest.mark.filterwarnings("ignore:The circuit consists of:UserWarning"),
]

Array = npt.NDArray[Any]
DELAYS = [1, 6, 36]
SHOTS = 2000


@pytest.fixture
def cloud(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(sf.RemoteEngine, "POLLING_INTERVAL_SECONDS", 0.05)
    for name in ("borealis", "TD2"):
        sf.compilers.compiler_db[name].reset_circuit()
    logging.getLogger("strawberryfields").setLevel(logging.ERROR)  # pi was added to half of all phases
    return xcc.Connection(refresh_token=platform.api_key, host=platform.host, port=platform.port, tls=False)


@pytest.fixture
async def connection(platform: Platform) -> AsyncIterator[sfjobs.Connection]:
    settings = sfjobs.Settings(url=platform.url, api_key=platform.api_key, poll_interval_min=0.05)
    async with sfjobs.Connection(settings=settings) as connection:
        yield connection


def device_of(cloud: Any, target: str = "borealis") -> Any:
    return sf.RemoteEngine(target, connection=cloud).device


def program_of(arguments: list[Any], *, phases: Any = None) -> Any:
    """The program of the tutorials; ``phases`` sets the loop phases by hand, as the advanced tutorial does."""
    modes, registers = tdm.get_mode_indices(DELAYS)
    program = sf.TDMProgram(registers)
    with program.context(*arguments) as (p, q):
        ops.Sgate(p[0]) | q[modes[0]]
        for loop in range(3):
            ops.Rgate(p[2 * loop + 1]) | q[modes[loop]]
            ops.BSgate(p[2 * loop + 2], np.pi / 2) | (q[modes[loop + 1]], q[modes[loop]])
            if phases is not None:
                ops.Rgate(phases[loop]) | q[modes[loop]]
        ops.MeasureFock() | q[0]
    return program


def few_pulses(device: Any, seed: int = 3) -> list[Any]:
    """48 pulses, three of them bright: the first meets one at the first loop and one at the third. Padded by full_compile."""
    random = np.random.default_rng(seed)
    gates: dict[str, Any] = {"Sgate": [0.0] * 48, "loops": {}}
    for pulse in (0, 1, 36):
        gates["Sgate"][pulse] = 1.0
    for loop, opened in enumerate(([1], [], [36])):
        angles = [0.0] * 48
        for pulse in opened:
            angles[pulse] = 0.7
        gates["loops"][loop] = {"Rgate": random.uniform(0, 6, 48).tolist(), "BSgate": angles}
    compiled = utils.full_compile(gates, device, return_list=False)
    level = device.certificate["squeezing_parameters_mean"]["high"]
    compiled["Sgate"] = [level if value else 0.0 for value in gates["Sgate"]] + [0.0] * compiled["crop"]
    return list(utils.to_args_list(compiled, device))


def exact_moments(arguments: list[Any], device: Any) -> tuple[Array, Array]:
    """Means and covariances of the photon numbers after the crop, from the state of Strawberry Fields' Gaussian backend."""
    sf.compilers.compiler_db["borealis"].reset_circuit()
    program = program_of(arguments).compile(device=device, realistic_loss=True)
    sf.compilers.compiler_db["borealis"].reset_circuit()
    program.space_unroll()
    state = sf.Engine("gaussian").run(program, shots=None, crop=True).state
    cov, m = state.cov(), state.num_modes
    assert not state.means().any()
    squares = (cov**2).reshape(2, m, 2, m).sum(axis=(0, 2))  # hbar = 2
    return np.diag(cov).reshape(2, m).sum(axis=0) / 4 - 0.5, squares / 8 - np.eye(m) / 4


def assert_moments(samples: Array, means: Array, covariances: Array) -> None:
    n = samples[:, 0].astype(float)
    bright = means > 1e-6
    assert not n[:, ~bright].any()
    centred = (n - means)[:, bright]
    products = centred[:, :, None] * centred[:, None, :]
    error = np.maximum(products.std(axis=0), 0.05) / math.sqrt(len(n))
    exact = covariances[np.ix_(bright, bright)]
    assert np.abs((products.mean(axis=0) - exact) / error).max() < 5
    assert np.abs(centred.mean(axis=0) / np.sqrt(np.diag(exact) / len(n))).max() < 4.5


async def test_photon_numbers_have_the_moments_of_the_lossy_state_of_strawberry_fields(
    cloud: Any, connection: sfjobs.Connection
) -> None:
    """By their engine and by ours, from the program as the user wrote it."""
    device = await anyio.to_thread.run_sync(device_of, cloud)
    arguments = few_pulses(device)
    means, covariances = exact_moments(arguments, device)
    assert (means > 0.01).sum() == 3
    off = covariances - np.diag(np.diag(covariances))
    assert np.abs(off).max() > 0.02
    engine = sf.RemoteEngine("borealis", connection=cloud)
    theirs = await anyio.to_thread.run_sync(lambda: engine.run(program_of(arguments), shots=SHOTS, crop=True).samples)
    assert_moments(theirs, means, covariances)
    sf.compilers.compiler_db["borealis"].reset_circuit()
    ours = await sfjobs.RemoteEngine("borealis", connection).run(program_of(arguments), shots=SHOTS, crop=True)
    assert theirs.shape == ours.samples.shape == (SHOTS, 1, 48)
    assert_moments(ours.samples, means, covariances)


async def test_the_loop_phases_may_be_written_by_hand(cloud: Any, connection: sfjobs.Connection) -> None:
    device = await anyio.to_thread.run_sync(device_of, cloud)
    arguments = few_pulses(device)
    # without the compensation by the compiler the phases are wherever the user put them: in the range of the modulators
    for index in (1, 3, 5):
        arguments[index] = np.clip(arguments[index], -1.5, 1.5).tolist()
    program = program_of(arguments, phases=device.certificate["loop_phases"])
    result = await sfjobs.RemoteEngine("borealis", connection).run(program, shots=5)
    assert result.samples.shape == (5, 1, 48 + 43)


@pytest.mark.parametrize(("modes", "squeezing", "shots"), [(216, "low", 100), (60, "low", 2000), (20, "high", 20)])
async def test_a_published_instance_is_accepted(
    cloud: Any, connection: sfjobs.Connection, modes: int, squeezing: str, shots: int
) -> None:
    device = await anyio.to_thread.run_sync(device_of, cloud)
    np.random.seed(1)  # noqa: NPY002 - what borealis_gbs draws from
    program = program_of(utils.borealis_gbs(device, modes=modes, squeezing=squeezing))
    job = await sfjobs.RemoteEngine("borealis", connection).run_async(program, shots=shots)
    await job.cancel()


@pytest.mark.parametrize("squeezing", ["medium", "high"])
async def test_a_published_instance_that_is_too_large_is_refused_with_the_estimate(
    cloud: Any, connection: sfjobs.Connection, squeezing: str
) -> None:
    device = await anyio.to_thread.run_sync(device_of, cloud)
    np.random.seed(1)  # noqa: NPY002
    program = program_of(utils.borealis_gbs(device, modes=216, squeezing=squeezing))
    with pytest.raises(sfjobs.ResponseError, match=r"times the time allowed|may hold") as refused:
        await sfjobs.RemoteEngine("borealis", connection).run_async(program, shots=10_000)
    assert refused.value.code == "simulation-limit"


async def test_their_engine_gets_the_same_refusal(cloud: Any) -> None:
    device = await anyio.to_thread.run_sync(device_of, cloud)
    np.random.seed(1)  # noqa: NPY002
    program = program_of(utils.borealis_gbs(device, modes=216, squeezing="high"))
    engine = sf.RemoteEngine("borealis", connection=cloud)
    with pytest.raises(Exception, match=r"times the time allowed|may hold"):
        await anyio.to_thread.run_sync(lambda: engine.run_async(program, shots=10_000))


def epr(angle: float) -> Any:
    program = sf.TDMProgram(N=2)
    with program.context([0, math.pi / 4], [math.pi / 2, 0], [angle, angle]) as (p, q):
        ops.Sgate(1.5, 0) | q[1]
        ops.BSgate(p[0]) | (q[1], q[0])
        ops.Rgate(p[1]) | q[1]
        ops.MeasureHomodyne(p[2]) | q[0]
    return program


@pytest.mark.parametrize("angle", [0.0, math.pi / 2], ids=["x", "p"])
async def test_an_epr_state_runs_on_td2_by_both_engines(
    cloud: Any, connection: sfjobs.Connection, angle: float
) -> None:
    """A pair leaves in two time bins that follow each other, and the vacuum comes first."""
    engine = sf.RemoteEngine("TD2", connection=cloud)
    theirs = await anyio.to_thread.run_sync(lambda: engine.run(epr(angle), shots=SHOTS).samples)
    sf.compilers.compiler_db["TD2"].reset_circuit()
    ours = (await sfjobs.RemoteEngine("TD2", connection).run(epr(angle), shots=SHOTS)).samples
    sf.compilers.compiler_db["TD2"].reset_circuit()
    for samples in (theirs, ours):
        moved = sfjobs.results.move_vac_modes(samples, 2, crop=True)
        assert np.array_equal(moved, utils.move_vac_modes(samples, 2, crop=True))
        first, second = moved[:, 0, 0], moved[:, 0, 1]
        variance = min(np.var(first + second), np.var(first - second))
        assert variance == pytest.approx(2 * math.exp(-3), rel=5 * math.sqrt(2 / len(first)))


@pytest.mark.parametrize("registers", [1, 2, 6, [1, 2], [1, 14], (1, 2, 6, 1)], ids=str)
@pytest.mark.parametrize("shape", [(5, 1, 20), (4, 2, 3), (1, 1, 30)], ids=str)
def test_move_vac_modes_is_that_of_strawberry_fields(registers: Any, shape: tuple[int, ...]) -> None:
    """Unless the vacuum takes more than one shot: there it leaves zeros at the end of a stream that it calls cropped."""
    samples = np.random.default_rng(1).normal(size=shape)
    for crop in (False, True):
        ours, theirs = (
            move(samples, registers, crop=crop) for move in (sfjobs.results.move_vac_modes, utils.move_vac_modes)
        )
        moved, readings = np.max(registers) - 1, shape[1] * shape[2]
        if crop and moved > readings:
            zeros = int((theirs == 0).sum())
            assert zeros > 0
            assert np.array_equal(
                ours.ravel(), theirs.ravel()[: len(theirs.ravel()) - -(-zeros // readings) * readings]
            )
        else:
            assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("bins", [3, 9, 50])
@pytest.mark.parametrize("delays", [[1], [1, 6], [1, 6, 36], [2, 3]], ids=str)
def test_the_crop_that_the_platform_states_is_that_of_strawberry_fields(delays: list[int], bins: int) -> None:
    modes, registers = tdm.get_mode_indices(delays)
    random = np.random.default_rng(bins)
    for opened_at in [0, 1, 2, 7, bins]:
        angles = [
            np.where(np.arange(bins) < (opened_at if loop == 0 else 2 * loop), 0, 0.5) for loop in range(len(delays))
        ]
        program = sf.TDMProgram(registers)
        with program.context(*angles, random.uniform(size=bins)) as (p, q):
            ops.Sgate(0.1) | q[modes[0]]
            for loop in range(len(delays)):
                ops.BSgate(p[loop]) | (q[modes[loop + 1]], q[modes[loop]])
            ops.MeasureHomodyne(p[len(delays)]) | q[0]
        expected = program.get_crop_value()
        parsed = parse(importlib.import_module("strawberryfields.io").to_blackbird(program).serialize())
        assert crop_of(read_time_domain(parsed)) == expected
