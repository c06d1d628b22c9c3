"""The time-domain devices: what clients read, the programs that they accept, and the losses with which borealis runs."""

from __future__ import annotations

import math
import re
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest

from sfjobs.platform.blackbird import parse
from sfjobs.platform.devices import as_run, build_devices
from sfjobs.platform.program import Array, ArrayParameter, ProgramError
from sfjobs.platform.simulation import simulate
from sfjobs.platform.simulation.circuit import read_circuit
from sfjobs.platform.simulation.state import LossyState
from sfjobs.platform.simulation.time_domain import read_time_domain, unrolled

DEVICES = build_devices()
CERTIFICATE: Any = DEVICES["borealis"].certificate
HALF_PI = math.pi / 2
DELAYS = (1, 6, 36)


def text_of(arrays: dict[str, Any], statements: list[str], *, target: str, options: str, shots: int = 10) -> str:
    declared = [
        line
        for name, values in arrays.items()
        for line in (f"float array {name} =", "    " + ", ".join(repr(float(value)) for value in values))
    ]
    header = ["name demo", "version 1.0", f"target {target} (shots={shots})"]
    return "\n".join([*header, f"type tdm ({options})" if options else "", *declared, "", *statements, ""])


def borealis_statements(**changed: str) -> list[str]:
    """The statements as Strawberry Fields sends them; ``changed`` by the name of the parameter."""
    phases = CERTIFICATE["loop_phases"]
    statements = {"s": "Sgate(p0, 0.0) | 43"}
    mode = 43
    for loop, delay in enumerate(DELAYS):
        statements[f"r{loop}"] = f"Rgate(p{2 * loop + 1}) | {mode}"
        statements[f"bs{loop}"] = f"BSgate(p{2 * loop + 2}, 1.5707963267948966) | [{mode - delay}, {mode}]"
        statements[f"loop{loop}"] = f"Rgate({phases[loop]!r}) | {mode}"
        mode -= delay
    return [line for line in ({**statements, "m": "MeasureFock() | 0"} | changed).values() if line]


def borealis_arrays(bins: int, **changed: Any) -> dict[str, Array]:
    arrays = {f"p{index}": np.linspace(0.1, 1.1 - 0.1 * index, bins) for index in range(7)}
    return arrays | {name: np.broadcast_to(value, bins).astype(float) for name, value in changed.items()}


def borealis(bins: int = 4, *, options: str = "", shots: int = 10, arrays: Any = None, **changed: str) -> str:
    given = borealis_arrays(bins) if arrays is None else arrays
    options = options or f"temporal_modes={bins}"
    return text_of(given, borealis_statements(**changed), target="borealis", options=options, shots=shots)


def td2(*statements: str, options: str = "temporal_modes=2", values: tuple[float, ...] = (0.5, 7.0)) -> str:
    lines = statements or (
        "Sgate(0.9, 0.0) | 1",
        "BSgate(p0, 0.0) | [1, 0]",
        "Rgate(p1) | 1",
        "MeasureHomodyne(p2) | 0",
    )
    return text_of(dict.fromkeys(("p0", "p1", "p2"), values), list(lines), target="TD2", options=options)


def refusal(target: str, text: str) -> ProgramError:
    with pytest.raises(ProgramError) as caught:
        DEVICES[target].check(parse(text))
    assert caught.value.code == "unsupported-circuit"
    return caught.value


@pytest.mark.parametrize(
    ("target", "modes", "compiler"),
    [
        ("borealis", {"concurrent": 44, "spatial": 1, "temporal_max": 331}, ["borealis"]),
        ("TD2", {"concurrent": 2, "spatial": 1, "temporal_max": 100_000}, ["TD2"]),
    ],
)
def test_the_specification_has_what_strawberry_fields_reads(target: str, modes: object, compiler: object) -> None:
    specification = DEVICES[target].specification
    assert (specification["modes"], specification["compiler"]) == (modes, compiler)
    assert f"target {target} (shots=1)\ntype tdm" in str(specification["layout"])
    parameters = specification["gate_parameters"]
    assert isinstance(parameters, dict)
    used = re.findall(r"\{(\w+)\}", str(specification["layout"]).partition("\n\nSgate")[2])
    assert sorted(parameters) == sorted(used)


def test_the_certificate_of_borealis_has_what_strawberry_fields_reads() -> None:
    sizes = {name: len(CERTIFICATE[name]) for name in ("loop_phases", "loop_efficiencies")}
    assert sizes == {"loop_phases": 3, "loop_efficiencies": 3}
    assert len(CERTIFICATE["relative_channel_efficiencies"]) == 16
    assert set(CERTIFICATE["squeezing_parameters_mean"]) == {"low", "medium", "high"}
    assert 0 < CERTIFICATE["common_efficiency"] < 1 <= CERTIFICATE["schmidt_number"]
    parameters: Any = DEVICES["borealis"].specification["gate_parameters"]
    assert [parameters[f"loop{loop}_phase"] for loop in range(3)] == [[phase] for phase in CERTIFICATE["loop_phases"]]


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("borealis", borealis()),
        ("borealis", borealis(331)),
        ("borealis", borealis(options="temporal_modes=4, copies=1")),
        ("borealis", borealis(options="temporal_modes=4, N=[44]")),
        ("borealis", borealis(s="Sgate(0.45, 0) | 43", r0="Rgate(-1.5707963267948966) | 43")),
        ("borealis", borealis(loop1="Rgate(-1.700000004) | 42", bs2="BSgate(0, 1.570796) | [0, 36]")),
        ("borealis", borealis(m="Measure | 0")),
        ("borealis", borealis(arrays=borealis_arrays(4, p0=[0, 2, 2.000009, -0.000009]))),
        ("TD2", td2()),
        ("TD2", td2(values=(-40.0, 1e3))),
        ("TD2", td2("Sgate(-0.9, 0) | 1", "BSgate(0.7, 0) | [1, 0]", "Rgate(0) | 1", "MeasureHomodyne(1.0) | 0")),
    ],
)
def test_a_program_that_fits_is_accepted(target: str, text: str) -> None:
    DEVICES[target].check(parse(text))


@pytest.mark.parametrize(
    ("target", "text", "words"),
    [
        ("borealis", borealis(bs0="BSgate(p2, 1.5707963267948966) | [41, 43]"), "no further gate on mode 41: its loops"),
        ("borealis", borealis(bs1="BSgate(p4, 1.5707963267948966) | [37, 42]"), "delay a pulse by 1, 6 and 36 time bins"),
        ("borealis", borealis(bs1="BSgate(p4, 1.5707963267948966) | [42, 36]"), "on modes [36, 42] here"),
        ("borealis", borealis(loop0=""), "also expects Rgate {loop0_phase} on modes [43]"),
        ("borealis", borealis(r2="", bs2="", loop2=""), "line 27: MeasureFock on modes [0]: borealis expects BSgate {bs2}"),
        ("borealis", borealis(m=""), "also expects MeasureFock on modes [0]"),
        ("borealis", borealis(m="MeasureHomodyne(0.0) | 0"), "expects MeasureFock on modes [0]"),
        ("borealis", borealis(m="MeasureFock() | 0\nRgate(0.1) | 0"), "no further gate on mode 0"),
        ("borealis", borealis(s="Sgate(p0, 0.0) | 44"), "modes 0 to 43 only"),
        ("borealis", borealis(loop0="Rgate(0.8) | 43"), "0.8 is not allowed for loop0_phase, which takes 0.9"),
        ("borealis", borealis(bs0="BSgate(p2, 0.0) | [42, 43]"), "0.0 must be 1.5707963267948966"),
        ("borealis", borealis(s="Sgate(p0) | 43"), "expects 2 parameters"),
        ("borealis", borealis(r0="Rgate(1.6) | 43"), "1.6 is not allowed for r0, which takes -1.5708 to 1.5708"),
        ("borealis", borealis(arrays=borealis_arrays(4, p0=[0, 1, 2.1, 0])), "2.1, p0 in time bin 2, is not allowed for s"),
        ("borealis", borealis(arrays=borealis_arrays(4, p0=[0, 1, -0.1, 0])), "takes 0 to 2 on borealis"),
        ("borealis", borealis(arrays=borealis_arrays(4, p6=[0, 1, 0, 1.7])), "1.7, p6 in time bin 3, is not allowed for bs2"),
        ("borealis", borealis(arrays=borealis_arrays(4, p3=7.0)), "7.0, p3 in time bin 0, is not allowed for r1"),
        ("borealis", borealis(arrays=borealis_arrays(4) | {"p3": np.zeros(5)}), "p3 has 5 values for 4 time bins"),
        ("borealis", borealis(arrays={f"p{i}": np.zeros(4) for i in range(6)}), "p6"),
        ("borealis", borealis(332), "temporal_modes=332 is more than the 331 time bins"),
        ("borealis", borealis(options="temporal_modes=1000000000000"), "more than the 331"),
        ("borealis", borealis(options="temporal_modes=0"), "how many time bins there are"),
        ("borealis", borealis(options="copies=1"), "not None"),
        ("borealis", borealis(options="temporal_modes=4, copies=1000000000"), "copies=1000000000 is not run on borealis"),
        ("borealis", borealis(options="temporal_modes=4, N=[1, 43]"), "N=(1, 43) does not fit borealis"),
        ("borealis", borealis(options="temporal_modes=4, N=[1000000000000]"), "one band of 44 registers"),
        ("borealis", borealis(options="temporal_modes=4, shift=2"), "does not know the option shift"),
        ("borealis", "name a\nversion 1.0\ntarget borealis (shots=1)\n\nMeasureFock() | 0\n", "time-domain programs only"),
        ("TD2", td2("Sgate(2.5, 0) | 1"), "2.5 is not allowed for s, which takes -2 to 2 on TD2"),
        ("TD2", td2("Sgate(1.0, 0) | 1", "BSgate(p0, 0.0) | [2, 0]"), "modes 0 to 1 only"),
        ("TD2", td2("Sgate(1.0, 0) | 1", "BSgate(p0, 0.0) | [0, 1]"), "its loop delays a pulse by 1 time bin"),
        ("TD2", td2(options="temporal_modes=3"), "p0 has 2 values for 3 time bins"),
        ("X8_01", borealis().replace("target borealis", "target X8_01"), "does not run programs of type tdm"),
    ],
)  # fmt: skip
def test_a_program_that_does_not_fit_is_refused_with_the_reason(target: str, text: str, words: str) -> None:
    try:
        program = parse(text)
    except ProgramError as error:
        assert words in error.detail  # noqa: PT017 - a name that is not declared ends the parse
        return
    with pytest.raises(ProgramError, match=re.escape(words)) as caught:
        DEVICES[target].check(program)
    assert caught.value.code == "unsupported-circuit"


def pulses(r: float) -> dict[str, Array]:
    """48 pulses, of which six are bright and meet on all three loops; 91 time bins."""
    bins = 91
    arrays = {f"p{index}": np.zeros(bins) for index in range(7)}
    arrays["p0"][[0, 1, 2, 6, 36, 37]] = r
    for loop, delay in enumerate(DELAYS):
        random = np.random.default_rng(loop)
        start = sum(DELAYS[:loop])
        arrays[f"p{2 * loop + 1}"] = random.uniform(-1.5, 1.5, bins)
        arrays[f"p{2 * loop + 2}"][start + delay : start + 48] = random.uniform(0.3, 1.2, 48 - delay)
    return arrays


def exact_covariance(arrays: dict[str, Array], *, lossy: bool = True) -> Array:
    """
    The covariance (2 bins, 2 bins) at the detector, hbar = 2: each pulse has a mode of its own, and every gate and every loss is
    written out here with plain matrices from the certificate.
    """
    bins = len(arrays["p0"])
    m = bins + 43
    cov = np.eye(2 * m)

    def passive(u: Array, modes: list[int]) -> None:
        block = np.block([[u.real, -u.imag], [u.imag, u.real]])
        rows = [*modes, *(mode + m for mode in modes)]
        cov[rows] = block @ cov[rows]
        cov[:, rows] = cov[:, rows] @ block.T

    def lose(efficiency: float, mode: int) -> None:
        rows = [mode, mode + m]
        cov[rows] *= math.sqrt(efficiency)
        cov[:, rows] *= math.sqrt(efficiency)
        cov[rows, rows] += 1 - efficiency

    for t in range(bins):
        mode = 43 + t
        cov[[mode, mode + m], [mode, mode + m]] = np.exp([-2 * arrays["p0"][t], 2 * arrays["p0"][t]])
        if lossy:
            lose(CERTIFICATE["common_efficiency"], mode)
        for loop, delay in enumerate(DELAYS):
            passive(np.array([[np.exp(1j * arrays[f"p{2 * loop + 1}"][t])]]), [mode])
            theta = arrays[f"p{2 * loop + 2}"][t]
            c, s = math.cos(theta), math.sin(theta)
            passive(np.array([[c, 1j * s], [1j * s, c]]), [mode - delay, mode])  # phi = pi / 2
            if lossy:
                lose(CERTIFICATE["loop_efficiencies"][loop], mode)
            passive(np.array([[np.exp(1j * CERTIFICATE["loop_phases"][loop])]]), [mode])
            mode -= delay
        if lossy:
            lose(CERTIFICATE["relative_channel_efficiencies"][t % 16], mode)
    measured = [*range(bins), *range(m, m + bins)]
    return cov[np.ix_(measured, measured)]


@pytest.mark.parametrize("lossy", [True, False], ids=["as the job runs", "as it was sent"])
def test_the_pulses_at_the_detector_have_the_exact_covariance(lossy: bool) -> None:
    """With the losses of the certificate when the job runs, and without them in the program that was sent."""
    arrays = pulses(0.8)
    program = parse(borealis(91, arrays=arrays))
    if lossy:
        program, meta = as_run("borealis", program)
        assert meta == {"losses": f"those of the certificate of borealis, finished at {CERTIFICATE['finished_at']}"}
    circuit = read_circuit(unrolled(read_time_domain(program), program), 1024)
    ours = LossyState(circuit.state, circuit.transmission).after_loss().reduced(range(91)).cov
    np.testing.assert_allclose(ours, exact_covariance(arrays, lossy=lossy), atol=1e-12)
    assert np.abs(ours - np.eye(182)).max(axis=1).reshape(2, 91).max(axis=0)[:43].max() < 1e-12  # the loops fill first


def test_only_borealis_has_losses() -> None:
    program = parse(td2())
    assert as_run("TD2", program) == (program, {})


def test_photon_numbers_have_the_exact_means_and_pair_correlations() -> None:
    arrays = {f"p{index}": np.zeros(47) for index in range(7)}
    arrays["p0"][:3] = 0.9
    arrays["p2"][1:3] = 0.6, 0.9
    arrays["p3"][1:4] = 0.4, -0.7, 1.2
    program, _ = as_run("borealis", parse(borealis(47, arrays=arrays)))
    shots = 40_000
    samples = simulate(program, shots=shots, seed=5)
    assert samples.meta["crop"] == 43
    n = samples.array[:, 0].astype(float)
    cov = exact_covariance(arrays)
    squares = (cov**2).reshape(2, 47, 2, 47).sum(axis=(0, 2))
    means = np.diag(cov).reshape(2, 47).sum(axis=0) / 4 - 0.5
    correlations = squares / 8 - np.eye(47) / 4
    bright = np.flatnonzero(means > 1e-6)
    assert set(bright) == {43, 44, 45}
    assert not n[:, means < 1e-9].any()
    products = (n - means)[:, bright, None] * (n - means)[:, None, bright]
    deviations = (products.mean(axis=0) - correlations[np.ix_(bright, bright)]) / (
        products.std(axis=0) / math.sqrt(shots)
    )
    assert np.abs(deviations).max() < 4.5
    assert np.abs((n.mean(axis=0) - means)[bright] / (n[:, bright].std(axis=0) / math.sqrt(shots))).max() < 4.5
    assert correlations[43, 44] > 0.01  # which no losses and no loop would leave out


def test_the_loops_of_a_padded_program_are_empty_at_its_end() -> None:
    """So that shots with empty loops are the shots of the device: the last 43 time bins of full_compile are vacuum."""
    arrays = pulses(0.8)
    program = parse(borealis(91, arrays=arrays))
    circuit = read_circuit(unrolled(read_time_domain(program), program), 1024)
    in_the_loops = LossyState(circuit.state, circuit.transmission).after_loss().reduced(range(91, 91 + 43))
    np.testing.assert_allclose(in_the_loops.cov, np.eye(86), atol=1e-12)


def test_measure_counts_photons_as_measure_fock_does() -> None:
    program, _ = as_run("borealis", parse(borealis(m="Measure | 0")))
    assert simulate(program, shots=3, seed=1).array.shape == (3, 1, 4)


def gbs(pulses: int, r: float, shots: int) -> str:
    bins = pulses + 43
    arrays = {f"p{index}": np.zeros(bins) for index in range(7)}
    arrays["p0"][:pulses] = r
    for loop, delay in enumerate(DELAYS):
        start = sum(DELAYS[:loop])
        arrays[f"p{2 * loop + 2}"][start + delay : start + pulses] = HALF_PI / 2
    return borealis(bins, arrays=arrays, shots=shots)


def test_too_many_photons_are_refused_with_the_estimate_before_a_sample_is_drawn() -> None:
    high, _ = as_run("borealis", parse(gbs(120, 2.0, 100)))
    with pytest.raises(ProgramError, match=r"100 shots of .* photons on average would take about .* times") as caught:
        simulate(high, shots=100)
    assert caught.value.code == "simulation-limit"


HOSTILE = {
    "copies": td2(options="temporal_modes=2, copies=1000000000"),
    "bins": td2(options="temporal_modes=1000000000000"),
    "bands": td2(options="temporal_modes=2, N=[1000000000000, 1]"),
    "many bands": td2(options=f"temporal_modes=2, N=[{', '.join(['1'] * 1000)}]"),
    "sum": td2(options="temporal_modes=2, N=[1, 2]"),
    "sizes": td2(options="temporal_modes=3"),
    "negative": td2(options="temporal_modes=2, N=[-1, 3]"),
    "infinite": td2("Sgate(p0, 0) | 1", "MeasureHomodyne(0) | 0", values=(0.1, 1e300)),
    "counts": td2("Sgate(0.1, 0) | 1", "MeasureFock() | 0", options="temporal_modes=1000000000000"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_program_is_refused_at_once_in_little_memory(name: str) -> None:
    started = time.process_time()
    tracemalloc.start()
    try:
        program = parse(HOSTILE[name].replace("target TD2", "target simulon_gaussian"))
        with pytest.raises(ProgramError) as caught:
            simulate(program, shots=1_000_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < 1
    assert peak < 200e6
    assert len(caught.value.detail) < 300


def test_a_parameter_without_an_array_is_named() -> None:
    program = parse(borealis())
    assert any(isinstance(operation.arguments[0], ArrayParameter) for operation in program.operations[:1])
    error = refusal("borealis", borealis(arrays=borealis_arrays(4) | {"p0": np.zeros(3)}))
    assert (error.operation, error.line) == ("Sgate", 20)
