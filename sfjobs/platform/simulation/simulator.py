"""The entry of the simulation: one program, so many shots, one array of samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from ..program import Array, Program
from .circuit import Circuit, read
from .fock import Draw, Light, gaussian_samples, sample_counts
from .limits import MAX_OUTPUT_BYTES, MAX_SHOTS, MAX_UNROLLED_MODES, MAX_WORK, beyond_limit, unsupported
from .quadratures import Quadratures
from .state import GaussianState
from .time_domain import unrolled

JSON: TypeAlias = str | int | float | bool | None

_MAX_CONDITIONED_SHOTS: Final = 20_000
"""Shots whose photon counts need a state of their own, because they follow a reading of another mode: 2 ms each."""


@dataclass(frozen=True, slots=True)
class Samples:
    """
    ``array`` has a row for each shot and a column for each measured mode, in ascending order; a TDM program has one more
    axis: (shots, spatial modes, time bins). ``meta`` says which sampler ran and, where it left something out, how much at most.
    """

    array: Array
    meta: Mapping[str, JSON]


def simulate(program: Program, *, shots: int, seed: int | None = None) -> Samples:
    """
    Run a Gaussian program ``shots`` times, each time from the vacuum; the same seed gives the same samples.

    Photon counts and clicks come as the smallest unsigned integers that hold them, homodyne readings as float64, heterodyne
    amplitudes as complex128 (hbar = 2: the vacuum has quadrature variance 1). Raises ProgramError: ``unsupported-circuit``
    for what is not simulated, ``simulation-limit`` for what is too large, ``simulator-missing`` without piquasso.
    """
    if not 1 <= shots <= MAX_SHOTS:
        raise beyond_limit(f"{shots} shots were asked for; between 1 and {MAX_SHOTS} are simulated")
    rng = np.random.default_rng(seed)
    if program.type is None:
        return _run(read(program), shots, rng)
    if program.type != "tdm":
        raise unsupported(f"programs of type {program.type!r} are not simulated")
    flat = unrolled(program)
    samples = _run(read(flat, MAX_UNROLLED_MODES), shots, rng)
    return Samples(samples.array[:, np.newaxis, :], samples.meta)


def _run(circuit: Circuit, shots: int, rng: np.random.Generator) -> Samples:
    widths = [16 if detector.kind == "heterodyne" else 8 for detector in circuit.detectors]
    if shots * max(widths) * len(widths) > MAX_OUTPUT_BYTES:
        raise beyond_limit(f"{shots} shots of {len(widths)} modes are more than {MAX_OUTPUT_BYTES} bytes of samples")
    analogue = [detector for detector in circuit.detectors if detector.kind in {"homodyne", "heterodyne"}]
    digital = [detector for detector in circuit.detectors if detector.kind in {"fock", "threshold"}]
    light = Light(circuit.state, circuit.transmission)
    draw = Draw(shots, rng)
    columns: dict[int, Array] = {}
    counting = [detector.mode for detector in digital]
    clicks = frozenset(detector.mode for detector in digital if detector.kind == "threshold")
    counts: Array | None = None
    if analogue:
        draw.samplers.add("multivariate normal")
        quadratures = Quadratures(light.settled(), analogue)
        readings = quadratures.sample(shots, rng)
        columns.update(zip((detector.mode for detector in analogue), quadratures.values(readings), strict=True))
        condition = quadratures.condition(readings, counting) if counting else None
        if condition is not None:
            counts = _conditioned(*condition, [(mode, mode in clicks) for mode in counting], draw)
    if digital and counts is None:
        counts = sample_counts(light, counting, clicks, draw)
    if counts is not None:
        rates = np.array([detector.dark_counts for detector in digital])
        if rates.any():
            counts = counts + rng.poisson(rates, counts.shape)
        if not analogue:
            return Samples(_narrowed(counts), _meta(draw))
        columns.update(zip(counting, counts.T, strict=True))
    return Samples(np.stack([columns[detector.mode] for detector in circuit.detectors], axis=1), _meta(draw))


def _conditioned(means: Array, cov: Array, modes: list[tuple[int, bool]], draw: Draw) -> Array:
    """Photon counts when every shot has a mean of its own, since other modes were read before; (mode, only a click?)."""
    m = len(modes)
    click = np.array([only_click for _, only_click in modes])
    centred = GaussianState(np.zeros(2 * m), cov)
    if centred.is_classical:
        draw.samplers.add("coherent mix")
        amplitudes = means / 2 + gaussian_samples(centred.means, (cov - np.eye(2 * m)) / 4, draw.shots, draw.rng)
        counts = draw.rng.poisson(amplitudes[:, :m] ** 2 + amplitudes[:, m:] ** 2)
        return np.where(click, counts > 0, counts)
    if draw.shots > _MAX_CONDITIONED_SHOTS:
        raise beyond_limit(
            f"photon counts that follow a homodyne or heterodyne reading are simulated for {_MAX_CONDITIONED_SHOTS} shots"
            f" at most, not {draw.shots}"
        )
    clicks = frozenset(np.flatnonzero(click).tolist())
    lossless = np.ones(m)
    rows = []
    worst = 0.0
    for mean in means:
        one = Draw(1, draw.rng, MAX_WORK / draw.shots)
        rows.append(sample_counts(Light(GaussianState(mean, cov), lossless), range(m), clicks, one))
        draw.samplers |= one.samplers
        worst = max(worst, one.discarded)
        draw.cutoff = one.cutoff if draw.cutoff is None else max(draw.cutoff, one.cutoff or 0)
    draw.discarded += worst
    return np.concatenate(rows)


def _narrowed(counts: Array) -> Array:
    """The smallest unsigned integers that hold these."""
    return counts.astype(np.min_scalar_type(int(counts.max(initial=0))))


def _meta(draw: Draw) -> dict[str, JSON]:
    meta: dict[str, JSON] = {"sampler": " + ".join(sorted(draw.samplers)), "discarded_probability": draw.discarded}
    if draw.cutoff is not None:
        meta["cutoff"] = draw.cutoff
    return meta
