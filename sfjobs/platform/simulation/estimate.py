"""
The check of a time-domain program before it is accepted: by the same rules and limits as when the job runs, and without drawing a
sample. Takes up to seconds for hundreds of pulses.
"""

from __future__ import annotations

from ..program import Program
from .circuit import Circuit, read_circuit
from .delay_loops import check_running_loops
from .fock import choose_samplers
from .limits import MAX_UNROLLED_MODES
from .state import LossyState
from .time_domain import is_space_unrolled, read_time_domain, unrolled


def check_time_domain(program: Program, *, shots: int) -> None:
    """
    Raise ``ProgramError`` unless ``shots`` shots of a TDM program can be simulated.

    Raises:
        ProgramError: ``unsupported-circuit`` or ``simulation-limit``, with the estimate of the time.
    """
    if is_space_unrolled(program):
        _check_circuit(read_circuit(program, MAX_UNROLLED_MODES), shots)
        return
    layout = read_time_domain(program)
    if layout.counts_photons:
        _check_circuit(read_circuit(unrolled(layout, program), MAX_UNROLLED_MODES), shots)
    else:
        check_running_loops(layout, shots)


def _check_circuit(circuit: Circuit, shots: int) -> None:
    """Check photon counts and clicks; those that follow quadratures depend on the readings, and are checked when the job runs."""
    kinds = {detector.mode: detector.kind for detector in circuit.detectors}
    if set(kinds.values()) <= {"fock", "threshold"}:
        threshold_modes = frozenset(mode for mode, kind in kinds.items() if kind == "threshold")
        choose_samplers(LossyState(circuit.state, circuit.transmission), list(kinds), threshold_modes, shots)
