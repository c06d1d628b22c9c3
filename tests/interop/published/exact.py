"""
The exact Gaussian state that a program measures, and what detectors find in it. States are those of the Gaussian backend of
Strawberry Fields, probabilities those of thewalrus; nothing here uses the platform's simulation. hbar is 2, and quadratures are
in the order x_0 .. x_{m-1}, p_0 .. p_{m-1}.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
import strawberryfields as sf
from strawberryfields import ops
from thewalrus import quantum

Array = Any

_MAX_AMPLITUDES = 1_000_000
_MAX_ELEMENTS = 120_000
"""Entries of a table of amplitudes and of a density matrix: at most a tenth of a second each."""


def _result_type(arrays: Any, scalars: Any) -> Any:
    return np.result_type(*arrays, *scalars)


if not hasattr(np, "find_common_type"):
    setattr(np, "find_common_type", _result_type)  # noqa: B010 - thewalrus 0.21 calls it, numpy 2 has it no longer


@dataclass(frozen=True)
class Reading:
    """The detector of one mode, by the name of its operation; ``angle`` is that of a homodyne detector."""

    mode: int
    kind: str
    angle: float = 0.0
    dark_counts: float = 0.0


@dataclass(frozen=True)
class Measured:
    """A Gaussian state, ``means`` (2m) and ``cov`` (2m, 2m), and its detectors in ascending order of modes."""

    means: Array
    cov: Array
    detectors: tuple[Reading, ...]

    def reduced(self, modes: list[int]) -> tuple[Array, Array]:
        m = len(self.means) // 2
        where = [*modes, *(mode + m for mode in modes)]
        return self.means[where], self.cov[np.ix_(where, where)]


def measured(program: Any) -> Measured:
    """Return the state of a program of Strawberry Fields before its measurements, which must be the last on their modes."""
    if isinstance(program, str):
        program = _loaded(program)
    circuit = program.circuit
    unmeasured = sf.Program(program.init_num_subsystems + sum(_is_thermal_loss(command) for command in circuit))
    gates, detectors = [], []
    done: set[int] = set()
    for command in circuit:
        modes = [register.ind for register in command.reg]
        if done.intersection(modes):
            raise ValueError(f"{command} uses a mode that was measured: the row needs another meaning")
        if isinstance(command.op, ops.Measurement):
            detectors += _detectors(command.op, modes)
            done.update(modes)
        else:
            gates.append((command.op, modes))
    spare = program.init_num_subsystems
    with unmeasured.context as q:
        for operation, modes in gates:
            if type(operation).__name__ == "ThermalLossChannel":
                # Their own adds its noise to all entries of the covariance (0.23). This is its definition.
                transmission, photons = operation.p
                ops.Thermal(photons) | q[spare]
                ops.BSgate(np.arccos(np.sqrt(transmission)), 0) | (q[modes[0]], q[spare])
                spare += 1
            else:
                operation | [q[mode] for mode in modes]
    state = sf.Engine("gaussian").run(unmeasured).state
    return Measured(state.means(), state.cov(), tuple(sorted(detectors, key=lambda reading: reading.mode)))


def _is_thermal_loss(command: Any) -> bool:
    return type(command.op).__name__ == "ThermalLossChannel"


def _loaded(text: str) -> Any:
    """Return a script as Strawberry Fields loads it: by the other parser, with sMZgate, which its list of operations lacks."""
    before = ops.__all__
    ops.__all__ = [*before, "sMZgate"]
    try:
        return sf.io.loads(text)
    finally:
        ops.__all__ = before


def _detectors(operation: Any, modes: list[int]) -> list[Reading]:
    kind = type(operation).__name__
    if operation.select is not None:
        raise ValueError("post-selection: the row needs another meaning")
    angle = float(sf.parameters.par_evaluate(operation.p[0])) if kind == "MeasureHomodyne" else 0.0
    rates = getattr(operation, "dark_counts", None)
    rates = [0.0] * len(modes) if rates is None else list(np.atleast_1d(rates))
    return [Reading(mode, kind, angle, float(rate)) for mode, rate in zip(modes, rates, strict=True)]


def quadratures(state: Measured, detectors: list[Reading]) -> tuple[Array, Array, Array]:
    """Return means and covariance of the readings of homodyne and heterodyne detectors, and their rows (readings, 2m)."""
    m = len(state.means) // 2
    rows, noise = [], []
    for detector in detectors:
        is_homodyne = detector.kind == "MeasureHomodyne"
        for angle in (detector.angle,) if is_homodyne else (0.0, np.pi / 2):
            row = np.zeros(2 * m)
            row[detector.mode], row[detector.mode + m] = np.cos(angle), np.sin(angle)
            rows.append(row)
            noise.append(0.0 if is_homodyne else 1.0)
    matrix = np.array(rows)
    return matrix @ state.means, matrix @ state.cov @ matrix.T + np.diag(noise), matrix


def is_pure(state: Measured, detectors: list[Reading]) -> bool:
    """Return whether the modes of these detectors are in a pure state."""
    _, cov = state.reduced([detector.mode for detector in detectors])
    return bool(np.linalg.det(cov) < 1 + 1e-6)


def photon_table(state: Measured, detectors: list[Reading]) -> Array:
    """
    Return the joint probabilities of the counts, one axis for each detector, below a cutoff that the memory allows; those of a
    threshold detector have the two entries "no photon" and "photons".
    """
    means, cov = state.reduced([detector.mode for detector in detectors])
    modes = len(detectors)
    if is_pure(state, detectors):
        cutoff = min(int(_MAX_AMPLITUDES ** (1 / modes) + 1e-9), 60)
        table = np.abs(quantum.state_vector(means, cov, cutoff=cutoff, hbar=2, check_purity=False)) ** 2
    else:
        cutoff = min(int(_MAX_ELEMENTS ** (1 / (2 * modes)) + 1e-9), 40)
        matrix = quantum.density_matrix(means, cov, cutoff=cutoff, normalize=False, hbar=2)
        indices = np.indices((cutoff,) * modes)
        # the axes of the density matrix are those of the ket and of the bra by turns
        table = matrix[tuple(index for axis in indices for index in (axis, axis))].real
    for axis, detector in enumerate(detectors):
        if detector.dark_counts:
            table = _with_dark_counts(table, axis, detector.dark_counts)
        if detector.kind == "MeasureThreshold":
            split = np.split(table, [1], axis=axis)
            table = np.concatenate([split[0], split[1].sum(axis=axis, keepdims=True)], axis=axis)
    return table


def _with_dark_counts(table: Array, axis: int, rate: float) -> Array:
    cutoff = table.shape[axis]
    poisson = np.exp(-rate) * np.cumprod([1.0, *(rate / n for n in range(1, cutoff))])
    added = np.array([[poisson[total - n] if total >= n else 0.0 for n in range(cutoff)] for total in range(cutoff)])
    return np.moveaxis(np.tensordot(added, table, axes=(1, axis)), 0, axis)


def vacuum_probability(state: Measured, modes: list[int]) -> float:
    """Return the probability that none of these modes has a photon: the overlap of the Husimi function with the origin."""
    means, cov = state.reduced(modes)
    matrix = cov + np.eye(len(cov))
    return float(2 ** len(modes) / np.sqrt(np.linalg.det(matrix)) * np.exp(-means @ np.linalg.solve(matrix, means) / 2))


def click_table(state: Measured, modes: list[int]) -> Array:
    """Return the joint probabilities of clicks, one axis of two entries for each mode."""
    vacuum = {
        chosen: vacuum_probability(state, list(chosen))
        for size in range(len(modes) + 1)
        for chosen in combinations(sorted(modes), size)
    }
    table = np.zeros((2,) * len(modes))
    for clicks in product((0, 1), repeat=len(modes)):
        dark = [mode for mode, click in zip(modes, clicks, strict=True) if not click]
        lit = [mode for mode, click in zip(modes, clicks, strict=True) if click]
        for size in range(len(lit) + 1):
            for chosen in combinations(lit, size):
                table[clicks] += (-1) ** size * vacuum[tuple(sorted([*dark, *chosen]))]
    return table


def photon_moments(state: Measured, detectors: list[Reading]) -> tuple[Array, Array]:
    """Return means and covariances of photon numbers."""
    means, cov = state.reduced([detector.mode for detector in detectors])
    added = np.array([detector.dark_counts for detector in detectors])
    average = quantum.photon_number_mean_vector(means, cov, hbar=2) + added
    return average, quantum.photon_number_covmat(means, cov, hbar=2) + np.diag(added)
