"""
Photon numbers and clicks of seven circuits, by sfjobs, piquasso, thewalrus and Strawberry Fields, those that are installed. All
use one core and take turns; times are CPU seconds. Run it as a program, or call ``main``.

sfjobs and Strawberry Fields run the program, the others sample its state. piquasso and thewalrus get the Fock cutoff that loses a
millionth; Strawberry Fields keeps thewalrus' cutoff of 5, which loses more.
"""

from __future__ import annotations

import os

# Set before numpy, piquasso and numba are loaded, which read them at import.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from sfjobs.platform.program import Array, Operation, Program
from sfjobs.platform.simulation import simulate
from sfjobs.platform.simulation.circuit import read_circuit
from sfjobs.platform.simulation.hafnian import HafnianSampler
from sfjobs.platform.simulation.state import GaussianState, LossyState

REPETITIONS = 1 if os.environ.get("BENCH_QUICK") else 3
SECONDS = 0.7
"""Least time of one measurement; the number of shots is doubled until it takes that long."""
MAX_SHOTS = 20_000


@dataclass(frozen=True)
class Circuit:
    """A circuit of ``gates`` and one measurement of all modes, and what it is called in the table."""

    name: str
    modes: int
    gates: tuple[Operation, ...]
    threshold: bool = False

    @property
    def program(self) -> Program:
        measurement = "MeasureThreshold" if self.threshold else "MeasureFock"
        return Program(operations=(*self.gates, Operation(measurement, modes=tuple(range(self.modes)))))

    @property
    def state(self) -> GaussianState:
        circuit = read_circuit(self.program)
        return LossyState(circuit.state, circuit.transmission).after_loss()


def haar(modes: int, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    unitary, triangle = np.linalg.qr(rng.normal(size=(modes, modes)) + 1j * rng.normal(size=(modes, modes)))
    return np.asarray(unitary * (np.diag(triangle) / np.abs(np.diag(triangle))))  # Mezzadri, math-ph/0609050


def squeezed(modes: int, photons: float, loss: bool = False) -> tuple[Operation, ...]:
    """Equal squeezers with this mean photon number in all, loss of a third on average before an interferometer."""
    strength = math.asinh(math.sqrt(photons / modes))
    squeezers = [Operation("Sgate", (strength,), modes=(mode,)) for mode in range(modes)]
    lossy = [Operation("LossChannel", (0.5 + 0.3 * mode / modes,), modes=(mode,)) for mode in range(modes) if loss]
    mixer = Operation("Interferometer", (haar(modes, modes),), modes=tuple(range(modes)))
    return (*squeezers, *lossy, mixer)


def x8() -> tuple[Operation, ...]:
    """Mean photon number 8 sinh^2(r) = 4."""
    squeezers = [Operation("S2gate", (0.658, 0.0), modes=(k, k + 4)) for k in range(4)]
    halves = [Operation("Interferometer", (haar(4, 1),), modes=tuple(range(start, start + 4))) for start in (0, 4)]
    return (*squeezers, *halves)


def graph(nodes: int, photons: float) -> tuple[Operation, ...]:
    """A random graph with a planted dense part of a third of the nodes, and this mean photon number in all."""
    rng = np.random.default_rng(nodes)
    density = np.full((nodes, nodes), 0.3)
    density[: nodes // 3, : nodes // 3] = 0.9
    upper = np.triu(rng.random((nodes, nodes)) < density, 1).astype(float)
    return (
        Operation(
            "GraphEmbed", (upper + upper.T,), {"mean_photon_per_mode": photons / nodes}, modes=tuple(range(nodes))
        ),
    )


CIRCUITS = (
    Circuit("X8", 8, x8()),
    Circuit("4 modes, pure", 4, squeezed(4, 2.0)),
    Circuit("6 nodes, clicks", 6, graph(6, 2.0), threshold=True),
    Circuit("14 nodes, clicks", 14, graph(14, 4.0), threshold=True),
    Circuit("8 modes, lossy", 8, squeezed(8, 4.0, loss=True)),
    Circuit("12 modes, pure", 12, squeezed(12, 4.0)),
    Circuit("30 nodes, clicks", 30, graph(30, 6.0), threshold=True),
)

Sampler = Callable[[int, int], Any]
"""Samples from a number of shots and a seed."""


def sfjobs_sampler(circuit: Circuit) -> Sampler:
    return lambda shots, seed: simulate(circuit.program, shots=shots, seed=seed)


def piquasso_sampler(circuit: Circuit) -> Sampler:
    pq = import_module("piquasso")
    state = circuit.state
    if not circuit.threshold:
        sampler = HafnianSampler(state)
        return lambda shots, seed: sampler.sample(shots, np.random.default_rng(seed))
    order = np.arange(2 * circuit.modes).reshape(2, -1).T.ravel()
    with pq.Program() as program:
        pq.Q() | pq.Covariance(state.cov[np.ix_(order, order)])
        pq.Q() | pq.Mean(state.means[order] / math.sqrt(2))
        pq.Q() | pq.ThresholdMeasurement()

    def sample(shots: int, seed: int) -> object:
        config = pq.Config(seed_sequence=seed + 1, use_torontonian=True)
        return pq.GaussianSimulator(d=circuit.modes, config=config).execute(program, shots=shots)

    return sample


def thewalrus_sampler(circuit: Circuit) -> Sampler:
    samples = import_module("thewalrus.samples")
    state = circuit.state
    if circuit.threshold:
        return lambda shots, _: samples.torontonian_sample_state(state.cov, shots, mu=state.means, max_photons=100)
    cutoff = HafnianSampler(state).cutoff
    return lambda shots, _: samples.hafnian_sample_state(state.cov, shots, cutoff=cutoff, max_photons=100)


def strawberryfields_sampler(circuit: Circuit) -> Sampler:
    sf = import_module("strawberryfields")
    program = sf.Program(circuit.modes)
    with program.context as modes:
        for operation in circuit.program.operations:
            gate = getattr(sf.ops, operation.name)(*operation.arguments, **operation.keywords)
            gate | [modes[mode] for mode in operation.modes]
    return lambda shots, _: sf.Engine("gaussian").run(program, shots=shots)


CONTESTANTS: dict[str, Callable[[Circuit], Sampler]] = {
    "sfjobs": sfjobs_sampler,
    "piquasso": piquasso_sampler,
    "thewalrus": thewalrus_sampler,
    "Strawberry Fields": strawberryfields_sampler,
}


def main() -> dict[str, object]:
    """Print a table of milliseconds for each shot. Return the medians in seconds, by circuit and contestant."""
    return {circuit.name: measure(circuit) for circuit in CIRCUITS}


def measure(circuit: Circuit) -> dict[str, float]:
    """Return the seconds for one shot of each contestant, the median of ``REPETITIONS`` rounds."""
    samplers: dict[str, tuple[Sampler, int]] = {}
    for name, prepare in CONTESTANTS.items():
        try:
            sampler = prepare(circuit)
        except ImportError:
            continue  # not installed
        sampler(1, 0)  # imports, and compilation at the first call
        samplers[name] = sampler, enough_shots(sampler)
    each: dict[str, list[float]] = {name: [] for name in samplers}
    for repetition in range(REPETITIONS):
        for name, (sampler, shots) in samplers.items():
            each[name].append(seconds(sampler, shots, repetition) / shots)
    medians = {name: statistics.median(times) for name, times in each.items()}
    best = min((value for name, value in medians.items() if name != "sfjobs"), default=math.nan)
    print(f"{circuit.name}: best of the others / sfjobs = {best / medians['sfjobs']:.3g}")
    for name, value in medians.items():
        spread = f"({min(each[name]) * 1e3:.3g} - {max(each[name]) * 1e3:.3g})"
        print(f"  {name:18s} {value * 1e3:9.4g} ms a shot  {spread}, {samplers[name][1]} shots", flush=True)
    return medians


def enough_shots(sampler: Sampler) -> int:
    shots = 1
    while shots < MAX_SHOTS and (passed := seconds(sampler, shots, 0)) < SECONDS:
        shots = min(shots * max(2, min(10, int(SECONDS / max(passed, 1e-3)))), MAX_SHOTS)
    return shots


def seconds(sampler: Sampler, shots: int, seed: int) -> float:
    start = time.process_time()
    sampler(shots, seed)
    return time.process_time() - start


if __name__ == "__main__":
    main()
