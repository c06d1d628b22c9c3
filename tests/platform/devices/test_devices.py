"""The devices as clients see them, and the programs that X-series devices and simulators accept."""

from __future__ import annotations

import datetime as dt
import json
import math

import pytest

from sfjobs.platform.blackbird import parse
from sfjobs.platform.devices import TargetDevice, build_devices
from sfjobs.platform.program import ProgramError

DEVICES = build_devices(test_targets=True)
TARGETS = sorted(DEVICES)

HEADER = "name demo\nversion 1.0\n\n"
HALF = [(0, 1), (2, 3), (1, 2), (0, 1), (2, 3), (1, 2)]


def x8(*, final: str = "0.25", first: str = "0.5", seconds: str = "0.5") -> list[str]:
    """The statements of an X8 program in the order in which Strawberry Fields emits them."""
    lines = [f"S2gate(1.0, 0.0) | [{mode}, {mode + 4}]" for mode in range(4)]
    lines += [f"MZgate({first}, 1.5) | [{a}, {b}]" for a, b in HALF]
    lines += [f"Rgate({final}) | {mode}" for mode in range(4)]
    lines += [f"MZgate({seconds}, 1.5) | [{a + 4}, {b + 4}]" for a, b in HALF]
    lines += [f"Rgate({final}) | {mode}" for mode in range(4, 8)]
    return [*lines, "MeasureFock() | [0, 1, 2, 3, 4, 5, 6, 7]"]


def check(lines: list[str], target: str = "X8_01", header: str = HEADER) -> None:
    DEVICES[target].check(parse(header + "\n".join(lines) + "\n"))


def rejection(lines: list[str], target: str = "X8_01", header: str = HEADER) -> ProgramError:
    with pytest.raises(ProgramError) as caught:
        check(lines, target, header)
    assert caught.value.code == "unsupported-circuit"
    return caught.value


def test_the_targets_of_a_platform() -> None:
    assert sorted(build_devices()) == ["TD2", "X12_01", "X12_02", "X8_01", "borealis", "simulon_gaussian"]


def test_the_test_targets_are_optional() -> None:
    assert set(DEVICES) - set(build_devices()) == {"never", "always_fails"}


@pytest.mark.parametrize("target", TARGETS)
def test_everything_a_client_gets_is_json(target: str) -> None:
    device = DEVICES[target]
    bodies = [device.detail(), device.specification, device.certificate]
    assert json.loads(json.dumps(bodies, allow_nan=False)) == bodies


@pytest.mark.parametrize("target", TARGETS)
def test_the_specification_has_the_keys_that_clients_require(target: str) -> None:
    assert {"target", "layout", "modes", "compiler", "gate_parameters"} <= set(DEVICES[target].specification)


@pytest.mark.parametrize("target", TARGETS)
def test_specification_and_certificate_name_their_target(target: str) -> None:
    device: TargetDevice = DEVICES[target]
    assert (device.specification["target"], device.certificate["target"]) == (target, target)


@pytest.mark.parametrize("target", TARGETS)
def test_the_uptime_is_in_iso_times_with_an_offset(target: str) -> None:
    times = [dt.time.fromisoformat(text) for day in DEVICES[target].expected_uptime.values() for text in day]
    assert all(time.tzinfo is not None for time in times)


def test_the_detail_of_a_device_has_the_keys_of_the_protocol() -> None:
    assert set(DEVICES["X8_01"].detail()) == {"target", "status", "expected_uptime", "created_at"}


def test_a_simulator_has_the_mode_limits_in_both_forms() -> None:
    modes = DEVICES["simulon_gaussian"].specification["modes"]
    assert modes == {
        "pnr_max": 216,
        "homodyne_max": 216,
        "heterodyne_max": 216,
        "max": {"pnr": 216, "homodyne": 216, "heterodyne": 216},
    }


def test_a_simulator_has_an_empty_layout_that_every_client_takes() -> None:
    specification = DEVICES["simulon_gaussian"].specification
    assert (specification["layout"], specification["gate_parameters"]) == ("", {})


@pytest.mark.parametrize(("target", "gates", "modes"), [("X8_01", 25, 8), ("X12_01", 49, 12), ("X12_02", 49, 12)])
def test_a_layout_has_the_gates_of_the_device(target: str, gates: int, modes: int) -> None:
    program = parse(str(DEVICES[target].specification["layout"]))
    assert (len(program.operations), program.num_modes, program.target) == (gates, modes, target)


@pytest.mark.parametrize("target", ["X8_01", "X12_01", "X12_02"])
def test_every_parameter_of_a_layout_has_allowed_values(target: str) -> None:
    specification = DEVICES[target].specification
    free = parse(str(specification["layout"])).free_parameters
    assert isinstance(specification["gate_parameters"], dict)
    assert set(specification["gate_parameters"]) == set(free)


def test_the_allowed_values_are_those_of_the_device() -> None:
    parameters = DEVICES["X8_01"].specification["gate_parameters"]
    assert isinstance(parameters, dict)
    expected = {
        "squeezing_amplitude_3": [0, 1],
        "phase_11": [0, [0, 2 * math.pi]],
        "final_phase_7": [0, [0, 2 * math.pi]],
    }
    assert {name: parameters[name] for name in expected} == expected


def test_a_program_as_strawberry_fields_emits_it_is_accepted() -> None:
    check(x8())


@pytest.mark.parametrize("target", ["X8_01", "X12_02"])
def test_a_program_in_the_order_of_the_layout_is_accepted(target: str) -> None:
    layout = str(DEVICES[target].specification["layout"])
    parameters = DEVICES[target].specification["gate_parameters"]
    assert isinstance(parameters, dict)
    for name in sorted(parameters, key=len, reverse=True):
        layout = layout.replace(f"{{{name}}}", "0")
    DEVICES[target].check(parse(layout))


def test_gates_on_other_modes_may_come_in_any_order() -> None:
    lines = x8()
    squeezers, first, first_phases, rest = lines[:4], lines[4:10], lines[10:14], lines[14:]
    swapped = [squeezers[1], squeezers[0], squeezers[3], squeezers[2], first[1], first[0], *first[2:]]
    check([*swapped, first_phases[3], first_phases[0], rest[0], *first_phases[1:3], *rest[1:]])


def test_gates_on_shared_modes_must_keep_their_order() -> None:
    lines = x8()
    lines[5], lines[6] = lines[6], lines[5]
    assert rejection(lines).line == 9


@pytest.mark.parametrize(
    "value",
    ["0", "0.0", "1e-6", "-1e-6", "3.1415926535897962", "2*pi", "6.2831853071795869", "-0.5", "7.5", "100*pi", "1+0j"],
)
def test_an_angle_may_be_any_number(value: str) -> None:
    check(x8(final=value))


@pytest.mark.parametrize(
    ("first", "second"), [("0.5", "0.500001"), ("0.0", "2*pi"), ("-1", "2*pi - 1"), ("1e-6", "2*pi - 1e-6")]
)
def test_both_halves_may_differ_by_whole_turns_and_the_tolerance(first: str, second: str) -> None:
    check(x8(first=first, seconds=second))


@pytest.mark.parametrize("value", ["0", "1", "0.0", "1.0000000000000837", "0.999995", "0.000005"])
def test_a_squeezer_is_on_or_off(value: str) -> None:
    check([f"S2gate({value}, 0.0) | [0, 4]", *x8()[1:]])


def changed(index: int, line: str) -> list[str]:
    lines = x8()
    lines[index] = line
    return lines


@pytest.mark.parametrize(
    ("lines", "line", "gate", "words"),
    [
        (changed(0, "S2gate(0.5, 0.0) | [0, 4]"), 4, "S2gate", "takes 0 or 1"),
        (changed(0, "S2gate(1.00002, 0.0) | [0, 4]"), 4, "S2gate", "takes 0 or 1"),
        (changed(0, "S2gate(1.0, 0.1) | [0, 4]"), 4, "S2gate", "must be 0.0"),
        (changed(0, "S2gate(1.0, 0.0) | [4, 0]"), 4, "S2gate", "modes [0, 4]"),
        (changed(0, "S2gate(1.0, 0.0) | [0, 5]"), 4, "S2gate", "expects S2gate on modes [0, 4]"),
        (changed(0, "S2gate(1.0) | [0, 4]"), 4, "S2gate", "2 parameters"),
        (changed(0, "S2gate(r=1.0, phi=0.0) | [0, 4]"), 4, "S2gate", "option r"),
        (changed(0, "Sgate(1.0) | 0"), 4, "Sgate", "expects S2gate"),
        (changed(4, "BSgate(0.5, 1.5) | [0, 1]"), 8, "BSgate", "expects MZgate"),
        (changed(14, "MZgate(0.6, 1.5) | [4, 5]"), 18, "MZgate", "one phase_0 for both halves"),
        (changed(14, "MZgate(0.5, 1.5) | [4, 6]"), 18, "MZgate", "expects MZgate on modes [4, 5]"),
        (changed(10, "Rgate(1j) | 0"), 14, "Rgate", "real number"),
        (changed(10, "Rgate(True) | 0"), 14, "Rgate", "real number"),
        (changed(10, "Rgate(q0) | 0"), 14, "Rgate", "real number, not q0"),
        (changed(10, "Rgate(0.5) | 8"), 14, "Rgate", "modes 0 to 7"),
        (changed(24, "MeasureFock() | [0, 1, 2, 3, 4, 5, 6]"), 28, "MeasureFock", "expects MeasureFock"),
        (changed(24, "MeasureFock() | [7, 6, 5, 4, 3, 2, 1, 0]"), 28, "MeasureFock", "expects MeasureFock"),
        (changed(24, "MeasureThreshold() | [0, 1, 2, 3, 4, 5, 6, 7]"), 28, "MeasureThreshold", "expects MeasureFock"),
        (changed(24, "MeasureFock(select=[1]) | [0, 1, 2, 3, 4, 5, 6, 7]"), 28, "MeasureFock", "option select"),
        ([*x8(), "Vac | 0"], 29, "Vac", "no further gate on mode 0"),
        (x8()[:-1], 27, "MeasureFock", "also expects MeasureFock"),
        (x8()[1:], 7, "MZgate", "expects S2gate on modes [0, 4]"),
        (["MeasureFock() | [0, 1, 2, 3, 4, 5, 6, 7]"], 4, "MeasureFock", "expects S2gate"),
        ([], 0, "S2gate", "also expects S2gate on modes [0, 4]"),
    ],
)  # fmt: skip
def test_a_program_that_the_device_cannot_run_is_rejected_with_gate_and_line(
    lines: list[str], line: int, gate: str, words: str
) -> None:
    error = rejection(lines)
    assert (error.line, error.operation, words in error.detail) == (line, gate, True), error.detail


def test_a_parameter_that_is_an_array_is_rejected() -> None:
    header = f"{HEADER}float array A =\n    0.5\n"
    assert rejection(changed(10, "Rgate(A) | 0"), header=header).operation == "Rgate"


def test_a_tdm_program_is_rejected_by_an_x_device() -> None:
    header = "name demo\nversion 1.0\ntype tdm (temporal_modes=1)\nfloat array p0 =\n    0.5\n"
    assert "tdm" in rejection(changed(10, "Rgate(p0) | 0"), header=header).detail


GAUSSIAN = ["Sgate(0.5, 0.0) | 0", "BSgate(0.7, 0.0) | [0, 1]", "MeasureFock() | [0, 1]"]


@pytest.mark.parametrize(
    "measurement", ["MeasureFock() | [0, 1]", "MeasureX | 0", "MeasureHomodyne(0.3) | 1", "MeasureHD | 0"]
)
def test_a_simulator_accepts_a_gaussian_circuit_with_a_measurement(measurement: str) -> None:
    check([*GAUSSIAN[:2], measurement], "simulon_gaussian")


@pytest.mark.parametrize("target", ["never", "always_fails"])
def test_the_test_targets_accept_the_programs_of_a_simulator(target: str) -> None:
    check(GAUSSIAN, target)


@pytest.mark.parametrize(
    ("lines", "line", "gate", "words"),
    [
        (["Kgate(0.1) | 0", *GAUSSIAN], 4, "Kgate", "Gaussian"),
        (["Nonsense | 0", *GAUSSIAN], 4, "Nonsense", "no such operation"),
        (["BSgate(0.1, 0) | [0, 1, 2]", *GAUSSIAN], 4, "BSgate", "acts on 2 modes"),
        (["Xgate({a}) | 1", *GAUSSIAN], 0, None, "free parameter a"),
        (GAUSSIAN[:2], 5, None, "measures nothing"),
        ([], 0, None, "measures nothing"),
        (["Vac | 215", "Vac | 216", *GAUSSIAN], 5, "Vac", "216 modes"),
        (["for int m in 0:217", "    MeasureX | m"], 5, "MeasureX", "216 modes"),
    ],
)  # fmt: skip
def test_a_simulator_rejects_an_unsupported_program(lines: list[str], line: int, gate: str | None, words: str) -> None:
    error = rejection(lines, "simulon_gaussian")
    assert (error.line, error.operation, words in error.detail) == (line, gate, True), error.detail
