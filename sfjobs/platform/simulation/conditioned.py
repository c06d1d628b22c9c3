"""Photon counts of states that differ from shot to shot in their means, because other modes were measured before."""

from __future__ import annotations

from typing import Final

import numpy as np

from ..program import Array
from .fock import SamplingRun, coherent_counts, sample_counts
from .limits import MAX_WORK, beyond_limit
from .state import GaussianState, LossyState

MAX_CONDITIONED_SHOTS: Final = 20_000
"""Shots whose photon counts each need their own state, because they depend on a quadrature of another mode: 2 ms each."""


def conditioned_counts(means: Array, cov: Array, is_threshold: Array, run: SamplingRun) -> Array:
    """
    Return photon counts (shots, k), or clicks where ``is_threshold`` (k), of states with their own ``means`` (shots, 2k) in each
    shot and the same ``cov`` (2k, 2k), because other modes were measured before.
    """
    m = len(is_threshold)
    if GaussianState(np.zeros(2 * m), cov).is_classical:
        run.record("coherent mix")
        counts = coherent_counts(means, cov, run)
        return np.where(is_threshold, counts > 0, counts)
    if run.shots > MAX_CONDITIONED_SHOTS:
        raise beyond_limit(
            f"photon counts that follow a homodyne or heterodyne reading are simulated for {MAX_CONDITIONED_SHOTS} shots"
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
