"""The simulator targets take the operations that the simulation knows: no more, and no fewer."""

from __future__ import annotations

import pytest

from sfjobs.platform.devices import gaussian
from sfjobs.platform.program import Operation, Program
from sfjobs.platform.simulation import embedding, gates
from sfjobs.platform.simulation.circuit import read_circuit

SIMULATED = {name: gate.modes for name, gate in gates.GATES.items()}
SIMULATED |= {alias: SIMULATED[name] for alias, name in gates.ALIASES.items() if name in SIMULATED}
SIMULATED |= dict.fromkeys(embedding.NAMES, 0)


def test_the_gates_that_a_target_takes_are_those_that_are_simulated_on_as_many_modes() -> None:
    assert gaussian.GATES == SIMULATED


@pytest.mark.parametrize("name", sorted(gaussian.COUNTING | gaussian.DYNE))
def test_a_measurement_that_a_target_takes_is_simulated(name: str) -> None:
    arguments = (0.5,) if name == "MeasureHomodyne" else ()
    circuit = read_circuit(Program(operations=(Operation(name, arguments, modes=(0,)),)))
    assert [detector.mode for detector in circuit.detectors] == [0]


@pytest.mark.parametrize("name", sorted(gates.NON_GAUSSIAN))
def test_what_is_not_gaussian_is_not_taken(name: str) -> None:
    assert name not in gaussian.GATES
