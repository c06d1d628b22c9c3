"""Photon counts of states that differ from shot to shot in their means, because other modes were measured before."""

from __future__ import annotations

from typing import Final

import numpy as np

from ..program import Array
from .displaced_table import DisplacedTable
from .fock import SamplingRun, choose_samplers, coherent_counts, independent_groups, sample_counts
from .limits import MAX_WORK, beyond_limit
from .pure_states import PureStateSampler
from .state import GaussianState, LossyState

MAX_CONDITIONED_SHOTS: Final = 20_000
"""Shots whose photon counts are sampled one by one, 2 ms each: for states that no table holds."""


def conditioned_counts(means: Array, cov: Array, is_threshold: Array, run: SamplingRun) -> Array:
    """
    Return photon counts (shots, k), or clicks where ``is_threshold`` (k), of states with their own ``means`` (shots, 2k) in each
    shot and the same ``cov`` (2k, 2k), because other modes were measured before.
    """
    m = len(is_threshold)
    counts = np.empty((run.shots, m), dtype=np.int64)
    for group in independent_groups(GaussianState(np.zeros(2 * m), cov)):
        where = group + [m + mode for mode in group]
        counts[:, group] = _counts_of_group(means[:, where], cov[np.ix_(where, where)], is_threshold[group], run)
    return np.where(is_threshold, counts > 0, counts)


def check_conditioned_counts(mean: Array, cov: Array, is_threshold: Array, shots: int) -> None:
    """Raise ``ProgramError`` if counts after readings that give these means (2k) take too long; other readings take longer."""
    m = len(is_threshold)
    for group in independent_groups(GaussianState(np.zeros(2 * m), cov)):
        where = group + [m + mode for mode in group]
        state = GaussianState(mean[where], cov[np.ix_(where, where)])
        means = state.means[np.newaxis]
        is_sampled_together = (
            state.is_classical
            or DisplacedTable(means, state.cov).applies(MAX_WORK)
            or PureStateSampler(state, means).applies(shots, MAX_WORK)
        )
        if not is_sampled_together:
            _check_one_by_one(len(group), shots)
            threshold_modes = frozenset(np.flatnonzero(is_threshold[group]).tolist())
            lossy = LossyState(state, np.ones(len(group)))
            choose_samplers(lossy, range(len(group)), threshold_modes, 1, MAX_WORK / shots)


def _check_one_by_one(modes: int, shots: int) -> None:
    if shots > MAX_CONDITIONED_SHOTS:
        raise beyond_limit(
            f"photon counts of {modes} modes that depend on a homodyne or heterodyne reading are simulated for"
            f" {MAX_CONDITIONED_SHOTS} shots at most, not {shots}"
        )


def _counts_of_group(means: Array, cov: Array, is_threshold: Array, run: SamplingRun) -> Array:
    m = len(is_threshold)
    if GaussianState(np.zeros(2 * m), cov).is_classical:
        run.record("coherent mix")
        return coherent_counts(means, cov, run)
    table = DisplacedTable(means, cov)
    if table.applies(run.budget):
        run.record("displaced table", table.discarded)
        return table.sample(run.rng)
    pure_states = PureStateSampler(GaussianState(means.mean(axis=0), cov), means)
    if pure_states.applies(run.shots, run.budget):
        run.record("pure states", pure_states.discarded)
        return pure_states.sample(run.shots, run.rng)
    _check_one_by_one(m, run.shots)
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
    run.cutoff = max([*cutoffs, *([run.cutoff] if run.cutoff is not None else [])], default=None)
    run.discarded += max(single.discarded for single in single_runs)
    return counts
