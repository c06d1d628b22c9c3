"""
The real Strawberry Fields 0.23 against a started platform, by its own engine and by ours: its programs run unchanged, on both
ways as the same circuit, with the same statistics. ``nox -s interop`` installs it.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import numpy as np
import numpy.typing as npt
import pytest

import sfjobs
from sfjobs import sync
from sfjobs.platform import Platform


def imported(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what packages of 2022 say at import of those of today
        return pytest.importorskip(name, reason=f"{name} is not installed: run `nox -s interop`")


sf = imported("strawberryfields")
xcc = imported("xcc")
blackbird = imported("blackbird")
ops = importlib.import_module("strawberryfields.ops")
sf_io = importlib.import_module("strawberryfields.io")

pytestmark = [
    pytest.mark.interop,
    pytest.mark.real_time,
    pytest.mark.filterwarnings("ignore::ResourceWarning:requests"),
    pytest.mark.filterwarnings("ignore:The circuit consists of:UserWarning"),
]

Array = npt.NDArray[Any]
SHOTS = 4000
FEW = 20


def xseries(pairs: int) -> Any:
    """Squeezed light on all pairs of an X8, half of an X12's, through the same random interferometer on both halves."""
    program = sf.Program(2 * pairs)
    unitary = np.linalg.qr(np.random.default_rng(pairs).normal(size=(pairs, pairs, 2)) @ [1, 1j])[0]
    with program.context as q:
        for mode in range(4 if pairs == 4 else 3):
            ops.S2gate(1.0) | (q[mode], q[mode + pairs])
        ops.Interferometer(unitary) | q[:pairs]
        ops.Interferometer(unitary) | q[pairs:]
        ops.MeasureFock() | q
    return program


def gaussian(measurement: Any) -> Any:
    """Two squeezed modes with some loss."""
    program = sf.Program(2)
    with program.context as q:
        ops.Sgate(np.float64(0.8)) | q[0]
        ops.Dgate(0.6, 0.4) | q[1]
        ops.BSgate(0.7, 0.3) | (q[0], q[1])
        ops.LossChannel(0.7) | q[1]
        measurement | q[1]
        measurement | q[0]
    return program


def time_domain() -> Any:
    program = sf.TDMProgram(N=2)
    with program.context([0.1, 0.2, 0.3], [0.0, 1.0, 0.5]) as (angles, q):
        ops.Sgate(0.5, 0) | q[1]
        ops.BSgate(angles[0], 0.0) | (q[1], q[0])
        ops.Rgate(angles[1]) | q[1]
        ops.MeasureHomodyne(0.5) | q[0]
    return program


def coherent() -> Any:
    program = sf.Program(2)
    with program.context as q:
        ops.Coherent(1.2) | q[0]
        ops.BSgate() | (q[0], q[1])
        ops.MeasureFock(dark_counts=[np.float64(0.25), 0.0]) | q
    return program


PROGRAMS: dict[str, tuple[str, Callable[[], Any]]] = {
    "X8": ("X8", lambda: xseries(4)),
    "X12": ("X12", lambda: xseries(6)),
    "X8 program on the simulator": ("simulon_gaussian", lambda: xseries(4)),
    "homodyne": ("simulon_gaussian", lambda: gaussian(ops.MeasureHomodyne(0.3))),
    "heterodyne": ("simulon_gaussian", lambda: gaussian(ops.MeasureHeterodyne())),
    "classical light": ("simulon_gaussian", coherent),
}
TABLE = pytest.mark.parametrize(("target", "make"), PROGRAMS.values(), ids=PROGRAMS.keys())


@pytest.fixture
def cloud(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What somebody who comes from xcc connects with."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(sf.RemoteEngine, "POLLING_INTERVAL_SECONDS", 0.05)
    sf.compilers.compiler_db["Xunitary"].reset_circuit()  # which keeps the layout of the first device for ever
    return xcc.Connection(refresh_token=platform.api_key, host=platform.host, port=platform.port, tls=False)


@pytest.fixture
async def connection(platform: Platform) -> AsyncIterator[sfjobs.Connection]:
    settings = sfjobs.Settings(url=platform.url, api_key=platform.api_key, poll_interval_min=0.05)
    async with sfjobs.Connection(settings=settings) as connection:
        yield connection


async def by_both(cloud: Any, connection: sfjobs.Connection, target: str, program: Any) -> tuple[Array, Array]:
    """The samples of Strawberry Fields' own engine, and of ours."""
    theirs = await anyio.to_thread.run_sync(lambda: sf.RemoteEngine(target, connection=cloud).run(program, shots=SHOTS))
    ours = await sfjobs.RemoteEngine(target, connection).run(program, shots=SHOTS)
    assert theirs.samples.dtype == ours.samples.dtype
    return theirs.samples, ours.samples


def distance(first: Array, second: Array) -> float:
    """How far the means of the modes are apart at most, in standard errors."""
    error = np.sqrt((first.var(axis=0) + second.var(axis=0)) / len(first))
    return float(np.max(np.abs(first.mean(axis=0) - second.mean(axis=0)) / error))


COUNTED = {name: case for name, case in PROGRAMS.items() if name != "classical light"}


@pytest.mark.parametrize(("target", "make"), COUNTED.values(), ids=COUNTED.keys())
async def test_a_program_gives_the_same_shape_and_means_by_both_engines(
    cloud: Any, connection: sfjobs.Connection, target: str, make: Callable[[], Any]
) -> None:
    theirs, ours = await by_both(cloud, connection, target, make())
    assert theirs.shape == ours.shape
    assert distance(theirs, ours) < 5.5


async def test_twin_beams_have_as_many_photons_in_both_halves(connection: sfjobs.Connection) -> None:
    samples = (await sfjobs.RemoteEngine("X8", connection).run(xseries(4), shots=SHOTS)).samples
    np.testing.assert_array_equal(samples[:, :4].sum(axis=1), samples[:, 4:].sum(axis=1))


async def test_the_mean_photon_number_of_an_x8_is_that_of_its_squeezing(connection: sfjobs.Connection) -> None:
    samples = (await sfjobs.RemoteEngine("X8", connection).run(xseries(4), shots=SHOTS)).samples
    assert samples.mean() == pytest.approx(np.sinh(1) ** 2, rel=0.1)


WITHOUT_INVERSES = {name: row for name, row in COUNTED.items() if name != "X8 program on the simulator"}


@pytest.mark.parametrize(("target", "make"), WITHOUT_INVERSES.values(), ids=WITHOUT_INVERSES.keys())
async def test_both_engines_submit_the_same_circuit(
    cloud: Any, connection: sfjobs.Connection, target: str, make: Callable[[], Any]
) -> None:
    program = make()
    job = await anyio.to_thread.run_sync(
        lambda: sf.RemoteEngine(target, connection=cloud).run_async(program, shots=FEW)
    )
    engine = sfjobs.RemoteEngine(target, connection)
    theirs = await connection.get_job_circuit(job.id)
    assert await connection.program_text(engine.target, program, shots=FEW) == theirs


async def test_a_program_whose_compiler_makes_inverses_arrives_as_it_was_meant(connection: sfjobs.Connection) -> None:
    job = await connection.create_job("simulon_gaussian", xseries(4), shots=FEW)
    assert "BSgate(-" in await connection.get_job_circuit(job.id)  # their engine loses the sign
    samples = (await job).samples
    assert samples.dtype == np.int64
    np.testing.assert_array_equal(samples[:, :4].sum(axis=1), samples[:, 4:].sum(axis=1))


def test_their_engine_hands_out_jobs_that_are_waited_for(cloud: Any) -> None:
    job = sf.RemoteEngine("X8", connection=cloud).run_async(xseries(4), shots=FEW)
    job.wait(delay=0.05)
    assert (job.status, job.result["output"][0].shape) == ("complete", (FEW, 8))


async def test_our_engine_hands_out_jobs_that_are_awaited(connection: sfjobs.Connection) -> None:
    job = await sfjobs.RemoteEngine("X8", connection).run_async(xseries(4), shots=FEW)
    assert (await job).samples.shape == (FEW, 8)


@TABLE
async def test_a_program_is_submitted_by_a_connection(
    connection: sfjobs.Connection, target: str, make: Callable[[], Any]
) -> None:
    program = make()
    target = sfjobs.RemoteEngine(target, connection).target
    job = await connection.create_job(target, program, shots=FEW)
    assert (await job).samples.shape == (FEW, program.num_subsystems)


async def test_programs_are_submitted_at_once(connection: sfjobs.Connection) -> None:
    program, jobs = xseries(4), []

    async def submit() -> None:
        jobs.append(await connection.create_job("X8_01", program, shots=FEW))

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(submit)
    circuits = {await connection.get_job_circuit(job.id) for job in jobs}
    assert len(circuits) == 1


async def test_both_halves_of_a_twin_beam_have_the_same_photon_numbers(connection: sfjobs.Connection) -> None:
    program = sf.Program(2)
    with program.context as q:
        ops.S2gate(1.0) | q
        ops.MeasureFock() | q
    samples = (await (await connection.create_job("simulon_gaussian", program, shots=SHOTS))).samples
    assert (samples[:, 0] == samples[:, 1]).all()  # 47 % were, when the text was written by their to_blackbird


async def test_numbers_that_numpy_wraps_reach_the_platform_as_numbers(connection: sfjobs.Connection) -> None:
    assert "dark_counts=[0.25, 0.0]" in await connection.program_text("simulon_gaussian", coherent(), shots=FEW)


async def test_a_time_domain_program_runs_on_the_simulator(connection: sfjobs.Connection) -> None:
    job = await connection.create_job("simulon_gaussian", time_domain(), shots=FEW)
    assert (await job).samples.shape == (FEW, 1, 3)


async def test_shots_may_stand_in_the_run_options(connection: sfjobs.Connection) -> None:
    program = xseries(4)
    program.run_options = {"shots": 7}
    assert (await (await connection.create_job("X8_01", program))).shots == 7


async def test_a_program_that_their_engine_compiled_goes_as_it_is(cloud: Any, connection: sfjobs.Connection) -> None:
    device = await anyio.to_thread.run_sync(lambda: sf.RemoteEngine("X8", connection=cloud).device)
    compiled = xseries(4).compile(device=device, compiler="Xcov")
    text = await connection.program_text("X8_01", compiled, shots=FEW)
    assert [str(command) for command in sf_io.loads(text).circuit] == [str(command) for command in compiled.circuit]


async def test_a_program_that_was_compiled_for_another_device_is_refused(
    cloud: Any, connection: sfjobs.Connection
) -> None:
    device = await anyio.to_thread.run_sync(lambda: sf.RemoteEngine("X8", connection=cloud).device)
    with pytest.raises(ValueError, match="compiled for X8_01, not for simulon_gaussian"):
        await connection.create_job("simulon_gaussian", xseries(4).compile(device=device), shots=FEW)


async def test_a_program_of_the_first_implementation_of_the_language_is_submitted(
    connection: sfjobs.Connection,
) -> None:
    text = await connection.program_text("X8_01", xseries(4), shots=FEW)
    job = await connection.create_job("X8_01", blackbird.loads(text))
    assert (await job).samples.shape == (FEW, 8)


async def test_a_program_that_does_not_fit_is_refused_in_the_words_of_the_compiler(
    connection: sfjobs.Connection,
) -> None:
    with pytest.raises(ValueError, match="CircuitError: This program contains 12 modes, but the device 'X8_01' only"):
        await connection.create_job("X8_01", xseries(6), shots=FEW)


async def test_a_program_without_shots_is_refused(connection: sfjobs.Connection) -> None:
    with pytest.raises(ValueError, match="how many shots"):
        await connection.create_job("X8_01", xseries(4))


async def test_a_target_that_the_platform_does_not_have_is_named(connection: sfjobs.Connection) -> None:
    with pytest.raises(sfjobs.NotFoundError, match="no device 'X9'"):
        await connection.create_job("X9", xseries(4), shots=FEW)


async def test_devices_of_one_compiler_are_used_in_turn(connection: sfjobs.Connection) -> None:
    pairs = {"X8_01": 4, "X12_02": 6}
    texts = [await connection.program_text(name, xseries(pairs[name]), shots=FEW) for name in [*pairs, *pairs]]
    assert texts[:2] == texts[2:]


def test_their_engine_tells_of_a_job_that_failed(cloud: Any) -> None:
    with pytest.raises(sf.engine.FailedJobError, match="error-code"):
        sf.RemoteEngine("always_fails", connection=cloud).run(xseries(4), shots=FEW)


async def test_our_engine_tells_of_a_job_that_failed(connection: sfjobs.Connection) -> None:
    with pytest.raises(sfjobs.FailedJobError, match="error-code"):
        await sfjobs.RemoteEngine("always_fails", connection).run(xseries(4), shots=FEW)


def test_a_program_runs_in_a_script_that_blocks(platform: Platform) -> None:
    with sync.Connection(platform.url, api_key=platform.api_key) as connection:
        result = sync.RemoteEngine("X8", connection).run(xseries(4), shots=FEW)
    assert result.samples.shape == (FEW, 8)
