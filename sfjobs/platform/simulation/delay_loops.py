"""
Homodyne and heterodyne readings of TDM programs whose delay loops run on from shot to shot, in bounded memory.

States, gates and detectors are Gaussian, so all Wigner functions are positive: each mode carries a value of x and one of p, drawn
from the vacuum; gates act on the values, and a detector reads them. The readings have the exact joint distribution, without a
covariance matrix, and a squeezed variance is lost to rounding only where its values are (r = 16).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np

from ..program import GATE_MODES, Array, ArrayParameter, Operation, Program, Samples
from .arguments import Arguments
from .circuit import Detector, read_circuit
from .gates import ALIASES, GATES
from .limits import MAX_OUTPUT_BYTES, beyond_limit, unsupported
from .time_domain import TimeDomain

_MAX_BLOCK_VALUES: Final = 1 << 20
"""Numbers in the readings of one block of shots, and in its state: 8 MB each."""

_MAX_STEPS: Final = 30_000_000
"""Statements that are run one after the other, at most: 35 us each, a quarter of an hour."""

_MAX_QUADRATURE: Final = 1e7
"""Beyond this value of a quadrature rounding (1e-9) nears the deviation of the squeezed one (1e-7)."""

_MAX_CACHED: Final = 4096


@dataclass(frozen=True, slots=True)
class _Step:
    """One statement in one time bin: ``r -> matrix r + noise_factor z + shift``, z normal, or a ``detector``."""

    registers: tuple[int, ...]
    matrix: Array | None = None
    noise_factor: Array | None = None
    shift: Array | None = None
    detector: Detector | None = None


class RunningLoops:
    """The readings of ``shots`` runs of a TDM program, one after the other. All checks are done when it is made."""

    def __init__(self, layout: TimeDomain, shots: int) -> None:
        """Raises ``ProgramError`` for a program that is not simulated or too large."""
        is_complex = any(ALIASES.get(item.name, item.name) == "MeasureHeterodyne" for item in layout.operations)
        readings, registers = len(layout.bands) * layout.bins, sum(layout.bands)
        if shots * readings * (16 if is_complex else 8) > MAX_OUTPUT_BYTES:
            raise beyond_limit(
                f"{shots} shots of {readings} readings are more than {MAX_OUTPUT_BYTES} bytes of samples"
            )
        width = min(shots, _MAX_BLOCK_VALUES // max(readings, 2 * registers) - 2 * registers)
        blocks = shots if width < 2 else math.ceil(shots / width)
        steps = blocks * layout.bins * len(layout.operations)
        if steps > _MAX_STEPS:
            raise beyond_limit(
                f"{shots} shots of {layout.bins} time bins take {steps} steps; at most {_MAX_STEPS} are simulated"
            )
        self._corrections = _DelayLoops(layout, np.random.default_rng(0)).check()
        self._layout, self._width = layout, max(width, 1)
        self._shape = (shots, len(layout.bands), layout.bins)
        self._type = complex if is_complex else float

    def sample(self, rng: np.random.Generator) -> Samples:
        """
        Return the readings (shots, bands, time bins). The loops are in the vacuum before the first shot and run on between
        shots, as in Strawberry Fields. A register is in the vacuum after its measurement.
        """
        loops = _DelayLoops(self._layout, rng)
        samples = np.empty(self._shape, dtype=self._type)
        state = rng.standard_normal(2 * sum(self._layout.bands))
        for first in range(0, len(samples), self._width):
            part = samples[first : first + self._width]
            state = loops.run_block(state, part) if len(part) > 1 else loops.run_shot(state, part)
        return Samples(
            samples, {"sampler": "phase space", "discarded_probability": 0.0, "loops": "running", **self._corrections}
        )


class _DelayLoops:
    def __init__(self, layout: TimeDomain, rng: np.random.Generator) -> None:
        self.layout = layout
        self.rng = rng
        self._registers = sum(layout.bands)
        self._cache: dict[tuple[object, ...], _Step] = {}

    def check(self) -> dict[str, float]:
        """
        Raise ``ProgramError`` for a statement that cannot run, before any time bin has run: in the first time bin, and in those
        with the largest and the smallest values of an array. Return what ``meta`` states of corrected matrices, which are the
        same in all time bins.
        """
        circuit = read_circuit(
            Program(operations=tuple(self.layout.in_bin(operation, 0) for operation in self.layout.operations))
        )
        for index, operation in enumerate(self.layout.operations):
            self._step(index, operation, 0)
            for array in self._changing[index]:
                real = array.ravel().real
                for time_bin in (int(real.argmin()), int(real.argmax())):  # which are those of nan, if there is one
                    self._step(index, operation, time_bin)
        return circuit.corrections

    def run_shot(self, state: Array, samples: Array) -> Array:
        """Fill ``samples`` (1, bands, bins) from the registers' quadratures ``state`` (2c); return those after it."""
        columns = state[:, np.newaxis].copy()
        readings = np.empty((*samples.shape[1:], 1), dtype=samples.dtype)
        columns = self._run(columns, readings, 1)
        samples[0] = readings[..., 0]
        return np.asarray(columns[:, 0])

    def run_block(self, state: Array, samples: Array) -> Array:
        """
        Fill ``samples`` (shots, bands, bins) at once. Readings and final quadratures are linear in the quadratures at the
        start of a shot: all shots run from zero, beside the response to each quadrature, and are then joined one after the other.
        """
        shots, size = len(samples), len(state)
        columns = np.concatenate([np.zeros((size, shots)), np.eye(size)], axis=1)
        readings = np.empty((*samples.shape[1:], shots + size), dtype=samples.dtype)
        columns = self._run(columns, readings, shots)
        own, transfer = np.ascontiguousarray(columns[:, :shots].T), columns[:, shots:]
        states = np.empty((shots, size))
        for shot in range(shots):
            states[shot] = state
            state = transfer @ state + own[shot]
        _check_size(states)
        for band, response in enumerate(readings):
            samples[:, band] = response[:, :shots].T + states @ response[:, shots:].T
        return state

    def _run(self, state: Array, readings: Array, noisy: int) -> Array:
        """
        Run one shot on the quadratures ``state`` (2c, columns), with noise and shifts in the first ``noisy`` columns. Fill
        ``readings`` (bands, bins, columns); return the quadratures by register for the next shot.
        """
        c, layout = self._registers, self.layout
        for time_bin in range(layout.bins):
            for index, operation in enumerate(layout.operations):
                step = self._step(index, operation, time_bin)
                modes = [self._mode(register, time_bin) for register in step.registers]
                rows = modes + [mode + c for mode in modes]
                if step.detector is not None:
                    readings[layout.band_of(step.registers[0]), time_bin] = self._read(
                        step.detector, state[rows], noisy
                    )
                    state[rows] = 0
                    state[rows, :noisy] = self.rng.standard_normal((2, noisy))
                    continue
                if step.matrix is not None:
                    state[rows] = step.matrix @ state[rows]
                if step.noise_factor is not None:
                    state[rows, :noisy] += step.noise_factor @ self.rng.standard_normal((len(rows), noisy))
                if step.shift is not None:
                    state[rows, :noisy] += step.shift[:, np.newaxis]
            if time_bin % 64 == 63:
                _check_size(state)
        _check_size(state)
        order = [self._mode(register, layout.bins) for register in range(c)]
        return state[order + [mode + c for mode in order]]

    def _read(self, detector: Detector, quadratures: Array, noisy: int) -> Array:
        x, p = quadratures
        if detector.kind == "homodyne":
            return np.asarray(math.cos(detector.angle) * x + math.sin(detector.angle) * p)
        amplitudes = (x + 1j * p) / 2
        amplitudes[:noisy] += self.rng.standard_normal((2, noisy)).T @ [0.5, 0.5j]
        return np.asarray(amplitudes)

    def _mode(self, register: int, time_bin: int) -> int:
        """Return the mode that is ``register`` in this time bin: the registers of a band shift by one after each bin."""
        start, size = self._places[register]
        return start + (register - start + time_bin) % size

    @cached_property
    def _places(self) -> list[tuple[int, int]]:
        starts, bands = self.layout.starts, self.layout.bands
        return [(start, size) for start, size in zip(starts, bands, strict=True) for _ in range(size)]

    def _step(self, index: int, operation: Operation, time_bin: int) -> _Step:
        key = (index, *[array[time_bin] for array in self._changing[index]])
        step = self._cache.get(key)
        if step is None:
            step = _read_step(self.layout.in_bin(operation, time_bin))
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            self._cache[key] = step
        return step

    @cached_property
    def _changing(self) -> list[list[Array]]:
        """The arrays of each statement; a step is the same in all time bins with the same values. Their sizes were checked."""
        return [
            [
                self.layout.arrays[value.name]
                for value in (*operation.arguments, *operation.keywords.values())
                if isinstance(value, ArrayParameter)
            ]
            for operation in self.layout.operations
        ]


def _read_step(operation: Operation) -> _Step:
    name = ALIASES.get(operation.name, operation.name)
    if name.startswith("Measure"):
        detector = read_circuit(Program(operations=(replace(operation, modes=(0,)),))).detectors[0]
        return _Step(operation.modes, detector=detector)
    if name not in GATES:
        raise unsupported("is not simulated in a TDM program with homodyne or heterodyne detection", operation)
    arguments = Arguments(operation, GATES[name].defaults)
    if name == "GaussianTransform" and arguments.flag("vacuum"):
        raise unsupported("with vacuum=True is not simulated in a TDM program", operation)
    if GATE_MODES[name] and len(operation.modes) != GATE_MODES[name]:
        raise unsupported(f"acts on {GATE_MODES[name]} modes, not on {len(operation.modes)}", operation)
    gaussian_map = GATES[name].transform(arguments)
    matrix, noise = gaussian_map.matrix, gaussian_map.noise
    if gaussian_map.kind == "loss":
        matrix = math.sqrt(gaussian_map.transmission) * np.eye(2)
        noise = (1 - gaussian_map.transmission) * np.eye(2)
    return _Step(operation.modes, matrix, None if noise is None else _factor(noise), gaussian_map.shift)


def _factor(noise: Array) -> Array:
    values, vectors = np.linalg.eigh(noise)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)))


def _check_size(quadratures: Array) -> None:
    if not np.max(np.abs(quadratures), initial=0.0) <= _MAX_QUADRATURE:
        raise beyond_limit("the light in the delay loops grows beyond what double precision holds")
