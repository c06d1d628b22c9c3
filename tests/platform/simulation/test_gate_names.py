"""The simulator targets accept exactly the operations that the simulation can run."""

from __future__ import annotations

import pytest

from sfjobs.platform.devices import gaussian
from sfjobs.platform.program import GATE_MODES, Operation, Program
from sfjobs.platform.simulation import embedding, gates
from sfjobs.platform.simulation.circuit import read_circuit

SIMULATED = set(gates.GATES) | embedding.NAMES
ALIASES = {alias: name for alias, name in gates.ALIASES.items() if name in SIMULATED}


def test_the_gates_that_a_target_accepts_are_the_simulated_ones() -> None:
    assert set(GATE_MODES) == SIMULATED | ALIASES.keys()


@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_an_alias_acts_on_as_many_modes_as_its_gate(alias: str) -> None:
    assert GATE_MODES[alias] == GATE_MODES[ALIASES[alias]]


@pytest.mark.parametrize("name", sorted(gaussian.MEASUREMENTS))
def test_a_measurement_that_a_target_accepts_is_simulated(name: str) -> None:
    arguments = (0.5,) if name == "MeasureHomodyne" else ()
    circuit = read_circuit(Program(operations=(Operation(name, arguments, modes=(0,)),)))
    assert [detector.mode for detector in circuit.detectors] == [0]


@pytest.mark.parametrize("name", sorted(gates.NON_GAUSSIAN))
def test_an_operation_that_is_not_gaussian_is_not_accepted(name: str) -> None:
    assert name not in GATE_MODES
