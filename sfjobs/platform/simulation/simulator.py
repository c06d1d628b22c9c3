"""The entry of the simulation: a program and a number of shots to an array of samples."""

from __future__ import annotations

from typing import Final

import numpy as np

from ...models import JSONValue
from ..program import Array, Program, Samples
from .circuit import Circuit, read_circuit
from .delay_loops import sample_running_loops
from .fock import SamplingRun, coherent_counts, sample_counts
from .limits import MAX_OUTPUT_BYTES, MAX_SHOTS, MAX_UNROLLED_MODES, MAX_WORK, beyond_limit, unsupported
from .pure_states import PureStateSampler
from .quadratures import Quadratures
from .state import GaussianState, LossyState
from .time_domain import crop_of, is_space_unrolled, read_time_domain, unrolled

_MAX_CONDITIONED_SHOTS: Final = 20_000
"""Shots whose photon counts each need their own state, because they depend on a quadrature of another mode: 2 ms each."""


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
    if not 1 <= shots <= MAX_SHOTS:
        raise beyond_limit(f"{shots} shots were requested; between 1 and {MAX_SHOTS} are simulated")
    rng = np.random.default_rng(seed)
    if program.type is None:
        return _sample(read_circuit(program), shots, rng)
    if program.type != "tdm":
        raise unsupported(f"programs of type {program.type!r} are not simulated")
    if is_space_unrolled(program):
        samples = _sample(read_circuit(program, MAX_UNROLLED_MODES), shots, rng)
        return Samples(samples.array[:, np.newaxis, :], samples.meta)
    layout = read_time_domain(program)
    if layout.counts_photons:
        samples = _sample(read_circuit(unrolled(layout, program), MAX_UNROLLED_MODES), shots, rng)
        array = samples.array.reshape(shots, len(layout.bands), layout.bins)
        samples = Samples(array, {**samples.meta, "loops": "emptied at each shot"})
    else:
        samples = sample_running_loops(layout, shots, rng)
    crop = crop_of(layout)
    return Samples(samples.array, samples.meta if crop is None else {**samples.meta, "crop": crop})


def _sample(circuit: Circuit, shots: int, rng: np.random.Generator) -> Samples:
    detectors = circuit.detectors
    bytes_per_value = 16 if any(detector.kind == "heterodyne" for detector in detectors) else 8
    if shots * bytes_per_value * len(detectors) > MAX_OUTPUT_BYTES:
        raise beyond_limit(f"{shots} shots of {len(detectors)} modes are more than {MAX_OUTPUT_BYTES} bytes of samples")
    dyne = [detector for detector in detectors if detector.kind in {"homodyne", "heterodyne"}]
    counters = [detector for detector in detectors if detector.kind in {"fock", "threshold"}]
    counted_modes = [detector.mode for detector in counters]
    threshold_modes = frozenset(detector.mode for detector in counters if detector.kind == "threshold")
    lossy = LossyState(circuit.state, circuit.transmission)
    run = SamplingRun(shots, rng)
    columns: dict[int, Array] = {}
    counts: Array | None = None
    if dyne:
        run.record("multivariate normal")
        quadratures = Quadratures(lossy.after_loss(), dyne)
        readings = quadratures.sample(shots, rng)
        columns.update(zip((detector.mode for detector in dyne), quadratures.values(readings), strict=True))
        condition = quadratures.condition(readings, counted_modes) if counters else None
        if condition is not None:
            is_threshold = np.array([mode in threshold_modes for mode in counted_modes])
            counts = _conditioned_counts(*condition, is_threshold, run)
    if counters and counts is None:
        counts = sample_counts(lossy, counted_modes, threshold_modes, run)
    if counts is not None:
        dark_counts = np.array([detector.dark_counts for detector in counters])
        if dark_counts.any():
            counts = counts + rng.poisson(dark_counts, counts.shape)
        if not dyne:
            smallest = np.min_scalar_type(int(counts.max(initial=0)))
            return Samples(counts.astype(smallest), _meta(run, circuit))
        columns.update(zip(counted_modes, counts.T, strict=True))
    return Samples(np.stack([columns[detector.mode] for detector in detectors], axis=1), _meta(run, circuit))


def _conditioned_counts(means: Array, cov: Array, is_threshold: Array, run: SamplingRun) -> Array:
    """
    Return photon counts (shots, k), or clicks where ``is_threshold`` (k), of states with their own ``means`` (shots, 2k) in each
    shot and the same ``cov`` (2k, 2k), because other modes were measured before.
    """
    m = len(is_threshold)
    if GaussianState(np.zeros(2 * m), cov).is_classical:
        run.record("coherent mix")
        counts = coherent_counts(means, cov, run)
        return np.where(is_threshold, counts > 0, counts)
    pure_states = PureStateSampler(GaussianState(means.mean(axis=0), cov), means)
    if pure_states.applies(run.shots, run.budget):
        run.record("pure states", pure_states.discarded)
        counts = pure_states.sample(run.shots, run.rng)
        return np.where(is_threshold, counts > 0, counts)
    if run.shots > _MAX_CONDITIONED_SHOTS:
        raise beyond_limit(
            f"photon counts that follow a homodyne or heterodyne reading are simulated for {_MAX_CONDITIONED_SHOTS} shots"
            f" at most, not {run.shots}"
        )
    threshold_modes = frozenset(np.flatnonzero(is_threshold).tolist())
    single_runs = [SamplingRun(1, run.rng, MAX_WORK / run.shots) for _ in means]
    counts = np.concatenate(
        [
            sample_counts(LossyState(GaussianState(mean, cov), np.ones(m)), range(m), threshold_modes, single)
            for mean, single in zip(means, single_runs, strict=True)
        ]
    )
    for single in single_runs:
        run.samplers |= single.samplers
    cutoffs = [single.cutoff for single in single_runs if single.cutoff is not None]
    run.cutoff = max(cutoffs, default=None)
    run.discarded += max(single.discarded for single in single_runs)
    return counts


def _meta(run: SamplingRun, circuit: Circuit) -> dict[str, JSONValue]:
    meta: dict[str, JSONValue] = {"sampler": " + ".join(sorted(run.samplers)), "discarded_probability": run.discarded}
    if run.cutoff is not None:
        meta["cutoff"] = run.cutoff
    return {**meta, **circuit.corrections}
