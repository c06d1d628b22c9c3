"""
The entry of the simulation: a program and a number of shots to an array of samples. ``prepare`` reads and checks, and draws
nothing; the object that it returns draws the samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..program import Program, Samples
from .circuit import read_circuit
from .circuit_sampler import CircuitSampler
from .delay_loops import RunningLoops
from .feed_forward import measured_parameters
from .limits import MAX_MODES, MAX_SHOTS, MAX_UNROLLED_MODES, beyond_limit, unsupported
from .time_domain import crop_of, is_space_unrolled, read_time_domain, unrolled
from .trajectory_reader import read_trajectories, reads_quadratures
from .trajectory_sampler import TrajectorySampler


class Simulation(Protocol):
    """A program that was read and checked, with its number of shots."""

    def sample(self, rng: np.random.Generator) -> Samples:
        """
        Return the samples. Raises ``ProgramError`` ``simulation-limit`` if readings or rounding errors leave the limits,
        ``simulator-missing`` or ``simulator-failed``.
        """
        ...


def simulate(program: Program, *, shots: int, seed: int | None = None) -> Samples:
    """
    Run a Gaussian program ``shots`` times, each time from the vacuum; the same seed gives the same samples. The delay loops of a
    TDM program run on between shots if it measures quadratures only.

    Photon counts and clicks are the smallest unsigned integers that hold them, homodyne quadratures are float64 and heterodyne
    amplitudes complex128 (hbar = 2: the vacuum has quadrature variance 1).

    Raises:
        ProgramError: ``unsupported-circuit`` if it is not simulated, ``simulation-limit`` if it is too large,
            ``simulator-missing`` if it needs piquasso and that is not installed, ``simulator-failed`` if piquasso fails.
    """
    return prepare(program, shots).sample(np.random.default_rng(seed))


def prepare(program: Program, shots: int) -> Simulation:
    """
    Read a program and check all that can be known without drawing a sample: operations, the types of their arguments, modes, time
    bins, the sizes of program and samples, and the estimate of the time that the samples take. ``preparation_seconds`` estimates
    how long this takes.

    Raises:
        ProgramError: ``unsupported-circuit`` if it is not simulated, ``simulation-limit`` if it is too large,
            ``simulator-missing`` if it needs piquasso and that is not installed.
    """
    if not 1 <= shots <= MAX_SHOTS:
        raise beyond_limit(f"{shots} shots were requested; between 1 and {MAX_SHOTS} are simulated")
    if program.type is None:
        return _prepare(program, shots, MAX_MODES)
    if program.type != "tdm":
        raise unsupported(f"programs of type {program.type!r} are not simulated")
    if is_space_unrolled(program):
        return _Unrolled(_prepare(program, shots, MAX_UNROLLED_MODES), bands=1, meta_loops=False)
    layout = read_time_domain(program)
    for operation in program.operations:
        if measured_parameters(operation):
            raise unsupported("feed-forward is not simulated in TDM programs", operation)
    simulation: Simulation
    if layout.counts_photons:
        sampler = _prepare(unrolled(layout, program), shots, MAX_UNROLLED_MODES)
        simulation = _Unrolled(sampler, bands=len(layout.bands), meta_loops=True)
    else:
        simulation = RunningLoops(layout, shots)
    crop = crop_of(layout)
    return simulation if crop is None else _StatesCrop(simulation, crop)


def _prepare(program: Program, shots: int, max_modes: int) -> Simulation:
    if reads_quadratures(program):
        return TrajectorySampler(read_trajectories(program, max_modes), shots)
    return CircuitSampler(read_circuit(program, max_modes), shots)


@dataclass(frozen=True, slots=True)
class _StatesCrop:
    """A TDM program whose ``meta`` says how many time bins of a shot have no pulse at their start."""

    simulation: Simulation
    crop: int

    def sample(self, rng: np.random.Generator) -> Samples:
        samples = self.simulation.sample(rng)
        return Samples(samples.array, {**samples.meta, "crop": self.crop})


@dataclass(frozen=True, slots=True)
class _Unrolled:
    """A TDM program unrolled in space: its samples get an axis of bands."""

    sampler: Simulation
    bands: int
    meta_loops: bool

    def sample(self, rng: np.random.Generator) -> Samples:
        samples = self.sampler.sample(rng)
        array = samples.array.reshape(len(samples.array), self.bands, -1)
        return Samples(array, {**samples.meta, "loops": "emptied at each shot"} if self.meta_loops else samples.meta)
