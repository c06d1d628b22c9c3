"""
The text of a ``strawberryfields.Program``: read by the loader of Strawberry Fields and run on its Gaussian backend, it has the
means and the covariance matrix of the program itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import strawberryfields as sf
from strawberryfields import ops
from sympy.core.cache import clear_cache
from thewalrus.random import random_covariance, random_interferometer, random_symplectic

from sfjobs._protocol import wire
from sfjobs._submission.blackbird_writer import written
from sfjobs._submission.strawberryfields import compiled_text
from sfjobs.models import Device
from sfjobs.platform.blackbird import parse
from sfjobs.platform.devices import build_devices

pytestmark = [pytest.mark.interop, pytest.mark.real_time]

Random = np.random.Generator
MODES = 4
DEVICES = {
    name: Device(
        target=name,
        specification=wire.specification(device.specification, target=name),
        certificate=wire.certificate(device.certificate),
    )
    for name, device in build_devices().items()
}


def real(rng: Random) -> float:
    return float(rng.uniform(-0.9, 0.9))


def positive(rng: Random) -> float:
    return float(rng.uniform(0.05, 0.95))


def angle(rng: Random) -> float:
    return float(rng.uniform(-np.pi, np.pi))


def graph(rng: Random) -> Any:
    matrix = rng.normal(size=(3, 3))
    return ops.GraphEmbed(matrix + matrix.T, mean_photon_per_mode=0.3)


def bipartite(rng: Random) -> Any:
    block, zero = rng.normal(size=(2, 2)), np.zeros((2, 2))
    return ops.BipartiteGraphEmbed(np.block([[zero, block], [block.T, zero]]), mean_photon_per_mode=0.3)


OPERATIONS: dict[str, tuple[int, Callable[[Random], Any]]] = {
    "Dgate": (1, lambda rng: ops.Dgate(positive(rng), angle(rng))),
    "Xgate": (1, lambda rng: ops.Xgate(real(rng))),
    "Zgate": (1, lambda rng: ops.Zgate(real(rng))),
    "Sgate": (1, lambda rng: ops.Sgate(real(rng), angle(rng))),
    "Pgate": (1, lambda rng: ops.Pgate(real(rng))),
    "Rgate": (1, lambda rng: ops.Rgate(angle(rng))),
    "Fouriergate": (1, lambda rng: ops.Fouriergate()),
    "BSgate": (2, lambda rng: ops.BSgate(angle(rng), angle(rng))),
    "MZgate": (2, lambda rng: ops.MZgate(angle(rng), angle(rng))),
    "sMZgate": (2, lambda rng: ops.sMZgate(angle(rng), angle(rng))),
    "S2gate": (2, lambda rng: ops.S2gate(real(rng), angle(rng))),
    "CXgate": (2, lambda rng: ops.CXgate(real(rng))),
    "CZgate": (2, lambda rng: ops.CZgate(real(rng))),
    "Vacuum": (1, lambda rng: ops.Vacuum()),
    "Coherent": (1, lambda rng: ops.Coherent(positive(rng), angle(rng))),
    "Squeezed": (1, lambda rng: ops.Squeezed(real(rng), angle(rng))),
    "DisplacedSqueezed": (1, lambda rng: ops.DisplacedSqueezed(positive(rng), angle(rng), real(rng), angle(rng))),
    "Thermal": (1, lambda rng: ops.Thermal(positive(rng))),
    "LossChannel": (1, lambda rng: ops.LossChannel(positive(rng))),
    "ThermalLossChannel": (1, lambda rng: ops.ThermalLossChannel(positive(rng), positive(rng))),
    "PassiveChannel": (3, lambda rng: ops.PassiveChannel(0.8 * random_interferometer(3))),
    "Interferometer": (3, lambda rng: ops.Interferometer(random_interferometer(3))),
    "GraphEmbed": (3, graph),
    "BipartiteGraphEmbed": (4, bipartite),
    "GaussianTransform": (3, lambda rng: ops.GaussianTransform(random_symplectic(3))),
    "Gaussian": (2, lambda rng: ops.Gaussian(random_covariance(2), rng.normal(size=4))),
    "Gaussian, pure": (2, lambda rng: ops.Gaussian(random_covariance(2, pure=True), rng.normal(size=4))),
    "Gaussian, whole": (2, lambda rng: ops.Gaussian(random_covariance(2), rng.normal(size=4), decomp=False)),
}


def program_with(operation: Any, modes: int) -> Any:
    """The operation in the midst of a circuit whose modes are all squeezed, displaced and entangled."""
    program = sf.Program(MODES)
    with program.context as q:
        for mode in range(MODES):
            ops.Squeezed(0.2 * mode + 0.1, 0.3 * mode) | q[mode]
            ops.Dgate(0.3, 0.4 * mode) | q[mode]
        ops.BSgate(0.7, 0.3) | (q[0], q[1])
        ops.BSgate(0.5, 0.1) | (q[2], q[3])
        ops.S2gate(0.3) | (q[1], q[2])
        operation | [q[mode] for mode in [1, 3, 0, 2][:modes]]
        ops.BSgate(0.4, 0.2) | (q[0], q[3])
    return program


def moments(program: Any) -> tuple[Any, Any]:
    state = sf.Engine("gaussian").run(program).state
    return state.means(), state.cov()


def text_of(program: Any) -> str:
    return written(program, name="demo", target="simulon_gaussian", options={"shots": 3})


@pytest.fixture(autouse=True)
def _every_operation_can_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    # Their loader knows the operations that are listed here, and sMZgate was forgotten.
    monkeypatch.setattr(ops, "__all__", [*ops.__all__, "sMZgate"])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("inverse", [False, True], ids=["plain", "inverse"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_arrives_as_it_was_meant(name: str, inverse: bool, seed: int) -> None:
    modes, make = OPERATIONS[name]
    np.random.seed(seed)  # noqa: NPY002 - the random matrices of thewalrus
    operation = make(np.random.default_rng(seed))
    if inverse:
        if not hasattr(operation, "H"):
            return  # it has none
        operation = operation.H
    program = program_with(operation, modes)
    means, covariance = moments(program)
    for sent in (program, program.compile(compiler="gaussian")):
        parse(text_of(sent))
        read_means, read_covariance = moments(sf.io.loads(text_of(sent)))
        np.testing.assert_allclose(read_means, means, rtol=0, atol=1e-9)
        np.testing.assert_allclose(read_covariance, covariance, rtol=0, atol=1e-9)


def test_every_operation_of_the_gaussian_backend_is_in_the_table() -> None:
    compiler = sf.compilers.compiler_db["gaussian"]
    named = {name.partition(",")[0] for name in OPERATIONS}
    measurements = {"MeasureFock", "MeasureHeterodyne", "MeasureHomodyne", "MeasureThreshold"}
    assert {*compiler.primitives, *compiler.decompositions} - measurements - {"All", "_Delete", "_New_modes"} == named


def test_bound_parameters_are_written_as_numbers_and_free_ones_by_name() -> None:
    program = sf.Program(1)
    squeezing, angle_ = program.params("squeezing", "angle")
    with program.context as q:
        ops.Sgate(2 * squeezing, angle_).H | q[0]
        ops.Rgate(sf.math.sin(squeezing) / 3) | q[0]
    program.bind_params({"squeezing": 0.25})
    assert "Sgate(-0.5, {angle}) | 0\nRgate(0.0824" in text_of(program)


def test_an_expression_of_an_equal_parameter_has_the_value_of_the_program() -> None:
    """sympy's cache may put the parameter of another program into an expression, since both have the same name."""
    other = sf.Program(1).params("squeezing_of_two")
    clear_cache()
    program = sf.Program(1)
    assert program.params("squeezing_of_two") is not other
    with program.context as q:
        ops.Sgate(2 * other) | q[0]
    program.bind_params({"squeezing_of_two": 0.25})
    assert "Sgate(0.5, 0" in text_of(program)


def test_deleted_and_new_modes_keep_their_numbers() -> None:
    program = sf.Program(2)
    with program.context as q:
        ops.Squeezed(0.4) | q[0]
        ops.S2gate(0.5) | q
        ops.Del | q[0]
        (new,) = ops.New(1)
        ops.BSgate() | (q[1], new)
        ops.MeasureFock() | (q[1], new)
    text = text_of(program)
    assert "BSgate(0.7853981633974483, 0.0) | [1, 2]\nMeasureFock() | [1, 2]" in text
    assert sf.io.loads(text)


def test_readings_and_selections_are_written() -> None:
    program = sf.Program(2)
    with program.context as q:
        ops.MeasureHomodyne(0.3, select=0.5) | q[0]
        ops.Xgate(sf.math.sqrt(2) * q[0].par).H | q[1]
    assert "MeasureHomodyne(0.3, select=0.5) | 0\nXgate(-(1.4142135623730951 * q0)) | 1" in text_of(program)


def test_numbers_of_extended_precision_are_written() -> None:
    """Takagi's decomposition of a complex graph has them."""
    program = sf.Program(2)
    with program.context as q:
        ops.Rgate(np.longdouble(0.25)) | q[0]
        ops.PassiveChannel(np.array([[0.5, 0.25j], [0.125, 0.5]], dtype=np.clongdouble)) | q
    text = text_of(program)
    assert "Rgate(0.25) | 0" in text
    assert "    0.5+0.0j, 0.0+0.25j\n    0.125+0.0j, 0.5+0.0j" in text


def test_expressions_of_loop_variables_become_loop_arrays() -> None:
    program = sf.TDMProgram(N=2)
    with program.context([1.0, 0.0, 0.5], [0.1, 0.2, 0.3]) as (p, q):
        ops.Sgate(0.7, 0) | q[1]
        ops.BSgate(p[0] * 0.5, p[1] + 0.1).H | (q[0], q[1])
        ops.Rgate(-p[1]) | q[1]
        ops.MeasureHomodyne(p[0]) | q[0]
    read = sf.io.loads(text_of(program))
    values = dict(zip(["p0", "p1", "p2", "p3", "p4"], read.tdm_params, strict=True))
    assert (type(read), read.timebins, read.N) == (sf.TDMProgram, 3, [2])
    np.testing.assert_allclose(values["p2"], [-0.5, 0.0, -0.25])
    np.testing.assert_allclose(values["p3"], [0.2, 0.3, 0.4])
    np.testing.assert_allclose(values["p4"], [-0.1, -0.2, -0.3])
    assert [str(command) for command in read.circuit] == [
        "Sgate(0.7, 0) | (q[1])",
        "BSgate({p2}, {p3}) | (q[0], q[1])",
        "Rgate({p4}) | (q[1])",
        "MeasureHomodyne({p0}) | (q[0])",
    ]


def test_the_bands_of_a_time_domain_program_are_written() -> None:
    program = sf.TDMProgram(N=[1, 2])
    with program.context([0.1, 0.2, 0.3]) as (p, q):
        ops.Sgate(0.5, 0) | q[0]
        ops.Sgate(0.5, 0) | q[2]
        ops.BSgate(p[0], 0) | (q[1], q[2])
        ops.MeasureHomodyne(0) | q[0]
        ops.MeasureHomodyne(0) | q[1]
    assert "type tdm (temporal_modes=3, N=[1, 2])" in text_of(program)
    assert parse(text_of(program))


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (lambda: ops.Ket(np.ones((2, 2, 2)) / np.sqrt(8)), "cannot express Ket: an array with 3 dimensions"),
        (lambda: ops.Rgate(float("nan")), "cannot express Rgate: its argument nan is not finite"),
        (lambda: ops.Fock(np.array([1])), "cannot express Fock: an array with 1 dimensions"),
    ],
)
def test_what_blackbird_cannot_express_is_refused_by_name(operation: Callable[[], Any], message: str) -> None:
    program = sf.Program(3)
    made = operation()
    with program.context as q:
        made | (q if made.ns is None else q[0])
    with pytest.raises(ValueError, match=message):
        text_of(program)


def x8_circuit(program: Any, squeezing: Any, phase: Any) -> Any:
    with program.context as q:
        for mode in range(4):
            ops.S2gate(squeezing) | (q[mode], q[mode + 4])
        for first in (0, 4):
            for mode in range(first, first + 3):
                ops.MZgate(2 * phase, sf.math.sin(phase) + mode % 4) | (q[mode], q[mode + 1])
            ops.Rgate(phase / 3).H | q[first + 2]
        ops.MeasureFock() | q
    return program


@pytest.mark.parametrize("bound", ["given", "bound", "default", "given over bound"])
@pytest.mark.parametrize("target", ["X8_01", "simulon_gaussian"])
def test_free_parameters_have_numbers_before_a_program_is_compiled(target: str, bound: str) -> None:
    program = sf.Program(8)
    squeezing, phase = program.params("squeezing", "phase")
    x8_circuit(program, squeezing, phase)
    values = {"squeezing": 1.0, "phase": 0.3}
    params: dict[str, float] | None = values
    if bound == "default":
        squeezing.default, phase.default, params = 1.0, 0.3, None
    elif bound != "given":
        program.bind_params(values if bound == "bound" else dict.fromkeys(values, 0.7))
        params = None if bound == "bound" else values
    before = [str(command) for command in program.circuit]
    device = DEVICES[target]
    found = compiled_text(program, target, device, 5, params)
    expected = compiled_text(x8_circuit(sf.Program(8), 1.0, 0.3), target, device, 5)
    assert moments(unmeasured(found))[1] == pytest.approx(moments(unmeasured(expected))[1], abs=1e-9)
    assert moments(unmeasured(found))[1] == pytest.approx(
        moments(unmeasured(text_of(x8_circuit(sf.Program(8), 1.0, 0.3))))[1], abs=1e-9
    )
    assert [str(command) for command in program.circuit] == before
    assert squeezing.val == {"bound": 1.0, "given over bound": 0.7}.get(bound)


def unmeasured(text: str) -> Any:
    return sf.io.loads(text.replace("MeasureFock()", "# "))


def test_a_sweep_of_one_program_leaves_it_free() -> None:
    program = sf.Program(8)
    x8_circuit(program, *program.params("squeezing", "phase"))
    texts = {
        compiled_text(program, "X8_01", DEVICES["X8_01"], 5, {"squeezing": 1.0, "phase": phase / 7})
        for phase in range(5)
    }
    assert len(texts) == 5


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (None, "no value is given for the free parameters squeezing, phase of the program"),
        ({"squeezing": 1.0}, "no value is given for the free parameter phase of"),
        ({"squeezing": 1.0, "phase": 0.1, "r": 2}, "values for what the program does not have: the free parameter r$"),
        ({"squeezing": 1.0, "phase": float("nan")}, "the value of the free parameter phase must be finite"),
    ],
)
def test_missing_and_unknown_parameters_of_an_object_are_named(params: dict[str, float] | None, message: str) -> None:
    program = sf.Program(8)
    x8_circuit(program, *program.params("squeezing", "phase"))
    with pytest.raises(ValueError, match=message):
        compiled_text(program, "X8_01", DEVICES["X8_01"], 5, params)


def test_an_argument_without_a_value_is_refused_by_name() -> None:
    program = sf.Program(1)
    with program.context as q:
        ops.Rgate(1 / program.params("a")) | q[0]
    with pytest.raises(ValueError, match=r"argument 1/\{a\} of Rgate is not finite"):
        compiled_text(program, "simulon_gaussian", None, 5, {"a": 0})


def test_readings_and_loop_variables_are_not_free() -> None:
    program = sf.Program(2)
    gain = program.params("gain")
    with program.context as q:
        ops.MeasureHomodyne(gain) | q[0]
        ops.Xgate(gain * q[0].par) | q[1]
    text = compiled_text(program, "simulon_gaussian", None, 5, {"gain": 0.5})
    assert "MeasureHomodyne(0.5) | 0\nXgate(0.5 * q0) | 1" in text
    looped = sf.TDMProgram(N=2)
    with looped.context([1.0, 0.0]) as (p, q):
        ops.Sgate(looped.params("r"), 0) | q[1]
        ops.BSgate(p[0], looped.params("r") * p[0]) | (q[0], q[1])
        ops.MeasureHomodyne(0) | q[0]
    assert "Sgate(0.5, 0) | 1\nBSgate(p0, p1) | [0, 1]" in compiled_text(looped, "TD2", None, 5, {"r": 0.5})


@pytest.mark.parametrize(
    "inverse",
    [
        lambda: ops.Rgate(0.4).H,
        lambda: ops.BSgate(0.4, 0.3).H,
        lambda: ops.MZgate(0.4, 0.3).H,
        lambda: ops.sMZgate(0.4, 0.3).H,
        lambda: ops.Fouriergate().H,
        lambda: ops.BSgate(0.4, 0.3).H.H,
    ],
    ids=["Rgate", "BSgate", "MZgate", "sMZgate", "Fouriergate", "twice"],
)
def test_an_inverse_on_the_x8_is_compiled_as_one(inverse: Callable[[], Any]) -> None:
    program = sf.Program(8)
    with program.context as q:
        for mode in range(4):
            ops.S2gate(1.0) | (q[mode], q[mode + 4])
        for first in (0, 4):
            for mode in range(first, first + 3):
                ops.BSgate(0.7, 0.2 * (mode % 4)) | (q[mode], q[mode + 1])
            operation = inverse()
            operation | [q[first + 1], q[first + 2]][: operation.ns]
            ops.BSgate(0.5, 0.1) | (q[first + 1], q[first + 2])
        ops.MeasureFock() | q
    before = [str(command) for command in program.circuit]
    compiled = compiled_text(program, "X8_01", DEVICES["X8_01"], 5)
    expected = moments(unmeasured(text_of(program)))[1]
    assert moments(unmeasured(compiled))[1] == pytest.approx(expected, abs=1e-9)
    assert [str(command) for command in program.circuit] == before
