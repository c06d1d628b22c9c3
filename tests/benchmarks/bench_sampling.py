"""
Photon samples of an X8 circuit (four two-mode squeezers, one random interferometer on both halves): the exact sampler of sfjobs,
and piquasso with a Fock cutoff that discards less than 1e-6. Both use one core. Run it as a program, or call ``main``.
"""

from __future__ import annotations

import os

# Set before numpy and piquasso are loaded, which read it at import.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import time

import numpy as np

from sfjobs.platform.program import Operation, Program
from sfjobs.platform.simulation import simulate
from sfjobs.platform.simulation.circuit import read_circuit
from sfjobs.platform.simulation.hafnian import HafnianSampler

SQUEEZING = 0.658
"""Mean photon number 8 sinh^2(r) = 4."""
SHOTS = 10_000
SHOTS_OF_PIQUASSO = 300
REPETITIONS = 5


def x8(squeezing: float, seed: int = 1) -> Program:
    rng = np.random.default_rng(seed)
    unitary, triangle = np.linalg.qr(rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4)))
    unitary = unitary * (np.diag(triangle) / np.abs(np.diag(triangle)))  # Haar random: Mezzadri, math-ph/0609050
    squeezers = [Operation("S2gate", (squeezing, 0.0), modes=(k, k + 4)) for k in range(4)]
    halves = [Operation("Interferometer", (unitary,), modes=tuple(range(start, start + 4))) for start in (0, 4)]
    return Program(operations=(*squeezers, *halves, Operation("MeasureFock", modes=tuple(range(8)))))


def main() -> dict[str, float]:
    """Print a table. Return the medians in seconds for ``SHOTS`` shots, and their ratio."""
    program = x8(SQUEEZING)
    piquasso = HafnianSampler(read_circuit(program).state)
    piquasso.sample(2, np.random.default_rng(0))  # imports, and the first call of the library
    simulate(program, shots=100, seed=0)
    ours: list[float] = []
    theirs: list[float] = []
    for repetition in range(REPETITIONS):
        start = time.perf_counter()
        simulate(program, shots=SHOTS, seed=repetition)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        piquasso.sample(SHOTS_OF_PIQUASSO, np.random.default_rng(repetition))
        theirs.append((time.perf_counter() - start) * SHOTS / SHOTS_OF_PIQUASSO)
    result = {
        "ours_s": statistics.median(ours),
        "piquasso_s": statistics.median(theirs),
        "ratio": statistics.median(theirs) / statistics.median(ours),
        "piquasso_cutoff": float(piquasso.cutoff),
        "piquasso_discarded": piquasso.discarded,
    }
    print(f"X8, Haar unitary, mean photon number 4, {SHOTS} shots, one thread, median (least - most) of {REPETITIONS}")
    print(f"  sfjobs, exact           {_row(ours)}")
    print(
        f"  piquasso, cutoff {piquasso.cutoff:<3d}    {_row(theirs)}   (measured with {SHOTS_OF_PIQUASSO} shots, scaled)"
    )
    print(f"  ratio                   {result['ratio']:8.0f}      piquasso discards at most {piquasso.discarded:.1e}")
    return result


def _row(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):8.3f} s  ({min(seconds):.3f} - {max(seconds):.3f})"


if __name__ == "__main__":
    main()
