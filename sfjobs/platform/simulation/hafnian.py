"""
Photon counts of any Gaussian state by piquasso, which samples mode by mode with loop hafnians (Quesada et al., PRX Quantum 3,
010306) up to a Fock cutoff. The cutoff is chosen here from the state.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Final

import numpy as np

from ..program import Array, ProgramError
from . import photons
from .limits import MAX_CUTOFF, MAX_WORK, beyond_limit
from .state import GaussianState

_MAX_DISCARDED: Final = 1e-6


class HafnianSampler:
    """
    A sampler with a Fock ``cutoff``: piquasso draws each mode from 0 .. cutoff-1. Its chain rule is exact unless a count would
    reach the cutoff, so the error of the distribution is at most ``P(any n_i >= cutoff) <= sum_i P(n_i >= cutoff)``. This bound,
    ``discarded``, comes from the exact distribution of each mode.
    """

    def __init__(self, state: GaussianState) -> None:
        self.state = state
        beyond = _beyond_each_cutoff(state)
        below_bound = np.flatnonzero(beyond <= _MAX_DISCARDED)
        self.cutoff = max(int(below_bound[0]) if len(below_bound) else len(beyond), 2)
        self.discarded = float(beyond[self.cutoff]) if self.cutoff < len(beyond) else 0.0

    def check(self, shots: int, budget: float = MAX_WORK) -> float:
        """Return the work. Raise ``ProgramError`` if it is more than ``budget``, or the cutoff beyond double precision."""
        if self.cutoff > MAX_CUTOFF:
            raise beyond_limit(
                f"a mode may hold {self.cutoff} photons with probability {_MAX_DISCARDED:g}; at most {MAX_CUTOFF} are simulated"
            )
        work = shots * self._work(shots)
        if work > budget:
            raise beyond_limit(
                f"{shots} shots of {self.state.num_modes} modes with {photons.mean_photons(self.state):.3g} photons on average"
                f" would take about {work / budget:.2g} times the time allowed"
            )
        return work

    def _work(self, shots: int) -> float:
        """Return the mean work of one shot, from the size of its hafnians; fitted to timings, within a factor 10."""
        distribution = photons.total_distribution(self.state)
        n = np.arange(photons.truncation(distribution, 0.1 / shots)[0] + 1, dtype=float)
        occupied = np.maximum(np.minimum(n, self.state.num_modes), 1)
        terms = np.exp(np.minimum(occupied / 2 * np.log1p(n / occupied), 200))
        each = self.state.num_modes * (1.5e5 + 6 * (n + 2) ** 2 * terms)
        return float(distribution[: len(n)] @ each)

    def sample(self, shots: int, rng: np.random.Generator) -> Array:
        """
        Return photon counts (shots, modes).

        Raises:
            ProgramError: ``simulator-missing`` without piquasso, ``simulator-failed`` if it raises an error.
        """
        pq = _piquasso()
        try:
            return self._run(pq, shots, int(rng.integers(1, 1 << 62)))
        except MemoryError:
            raise
        except Exception as error:  # piquasso, and numpy and scipy within it, document no set of errors
            raise ProgramError(
                "simulator-failed",
                f"piquasso failed on {shots} shots of {self.state.num_modes} modes with"
                f" {photons.mean_photons(self.state):.3g} photons on average and a cutoff of {self.cutoff}:"
                f" {type(error).__name__}: {error}",
            ) from error

    def _run(self, pq: ModuleType, shots: int, seed: int) -> Array:
        m = self.state.num_modes
        order = np.arange(2 * m).reshape(2, m).T.ravel()  # x_0 p_0 x_1 p_1 ..
        with pq.Program() as program:
            # piquasso multiplies by hbar itself; its vacuum variance is hbar.
            pq.Q() | pq.Covariance(self.state.cov[np.ix_(order, order)])
            pq.Q() | pq.Mean(self.state.means[order] / np.sqrt(2))
            pq.Q() | pq.ParticleNumberMeasurement()
        config = pq.Config(seed_sequence=seed, measurement_cutoff=self.cutoff)
        result = pq.GaussianSimulator(d=m, config=config).execute(program, shots=shots)
        return np.asarray(result.samples, dtype=np.int64).reshape(shots, m)


def _beyond_each_cutoff(state: GaussianState) -> Array:
    """Return the array whose entry c is the sum over the modes of ``P(n_i >= c)``."""
    modes = [photons.total_distribution(state.reduced([mode])) for mode in range(state.num_modes)]
    beyond = np.zeros(max(map(len, modes)))
    for distribution in modes:
        beyond[: len(distribution)] += np.cumsum(distribution[::-1])[::-1]
    return beyond


def _piquasso() -> ModuleType:
    # Two OpenMP threads made its hafnians three times slower than one. The variable is read when the library is loaded.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        return importlib.import_module("piquasso")
    except ImportError as error:
        raise ProgramError(
            "simulator-missing",
            "this program needs the hafnian sampler, which is not installed here: pip install 'sfjobs[simulators]'",
        ) from error
