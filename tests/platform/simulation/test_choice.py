"""The choice of the samplers of photon counts, which the platform asks for before it accepts a job."""

from __future__ import annotations

from typing import Any

import pytest

from sfjobs.platform.program import Operation, Program, ProgramError
from sfjobs.platform.simulation import simulate
from sfjobs.platform.simulation.circuit import read_circuit
from sfjobs.platform.simulation.fock import CountSampler, choose_samplers
from sfjobs.platform.simulation.state import LossyState


def op(name: str, *arguments: Any, modes: Any, **keywords: Any) -> Operation:
    return Operation(name, arguments, keywords, tuple(modes))


def chain(modes: int, squeezing: float) -> list[Operation]:
    squeezers = [op("Sgate", squeezing, modes=[mode]) for mode in range(modes)]
    return [*squeezers, *[op("BSgate", 0.3, 0.2, modes=[mode, mode + 1]) for mode in range(modes - 1)]]


def program(gates: list[Operation], modes: int, measurement: str = "MeasureFock") -> Program:
    return Program(operations=(*gates, op(measurement, modes=range(modes))))


def choose(program: Program, shots: int) -> CountSampler:
    circuit = read_circuit(program)
    clicked = [detector.mode for detector in circuit.detectors if detector.kind == "threshold"]
    lossy = LossyState(circuit.state, circuit.transmission)
    return choose_samplers(lossy, [detector.mode for detector in circuit.detectors], frozenset(clicked), shots)


CHOICES = {
    "twin beams": (program([op("S2gate", 0.5, 0.0, modes=[0, 1])], 2), {"x-series exact"}),
    "few pure modes": (program(chain(3, 0.5), 3), {"amplitude table"}),
    "few clicks": (program(chain(3, 0.5), 3, "MeasureThreshold"), {"click table"}),
    "many clicks": (program(chain(14, 0.4), 14, "MeasureThreshold"), {"torontonian"}),
    "laser light": (program([op("Coherent", 1.0, modes=[0])], 1), {"coherent mix"}),
    "two groups": (program([op("Coherent", 1.0, modes=[2]), *chain(2, 0.4)], 3), {"coherent mix", "amplitude table"}),
}


@pytest.mark.parametrize("case", CHOICES)
def test_the_chosen_samplers_are_those_that_run(case: str) -> None:
    chosen, names = choose(CHOICES[case][0], 20), CHOICES[case][1]
    assert {group.name for group in chosen.groups} == names
    assert simulate(CHOICES[case][0], shots=20, seed=1).meta["sampler"] == " + ".join(sorted(names))
    assert chosen.work > 0


def test_the_groups_cover_the_measured_modes() -> None:
    alone = [op("Sgate", 0.2, modes=[4]), op("MeasureFock", modes=[4, 1, 3])]
    chosen = choose(Program(operations=(*chain(4, 0.3), *alone)), 5)
    assert sorted(mode for group in chosen.groups for mode in group.modes) == [1, 3, 4]
    assert chosen.modes == (1, 3, 4)


@pytest.mark.parametrize("measurement", ["MeasureFock", "MeasureThreshold"])
def test_too_much_work_is_refused_by_the_choice(measurement: str) -> None:
    with pytest.raises(ProgramError, match="times the time allowed") as caught:
        choose(program(chain(40, 1.0), 40, measurement), 1_000)
    assert caught.value.code == "simulation-limit"


def test_the_work_grows_with_the_shots() -> None:
    gates = program(chain(14, 0.4), 14, "MeasureThreshold")
    assert choose(gates, 4_000).work > 3 * choose(gates, 40).work
