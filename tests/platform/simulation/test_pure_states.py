"""
Photon counts by displaced pure states. The oracles are written out here: loop hafnians as sums over all perfect matchings,
moments of photon numbers by Wick's theorem, and convolutions of single-mode distributions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from scipy.stats import chi2, unitary_group

from sfjobs.platform.simulation.pattern_lattice import Lattice, joined
from sfjobs.platform.simulation.pattern_sieve import Sieve
from sfjobs.platform.simulation.pure_states import PureStateSampler
from sfjobs.platform.simulation.state import GaussianState

SHOTS = 12_000


def matchings(items: list[int]) -> Iterator[list[tuple[int, int]]]:
    """All ways to pair some of the items and to leave the others single, as pairs (i, i)."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for others in matchings(rest):
        yield [(first, first), *others]
    for k, second in enumerate(rest):
        for others in matchings(rest[:k] + rest[k + 1 :]):
            yield [(first, second), *others]


def loop_hafnian(matrix: np.ndarray, loops: np.ndarray, counts: list[int]) -> complex:
    """The loop hafnian of the matrix with row and column i repeated ``counts[i]`` times."""
    of = np.repeat(np.arange(len(counts)), counts)
    full = matrix[np.ix_(of, of)].astype(complex)
    np.fill_diagonal(full, loops[of])
    return complex(sum(math.prod(full[pair] for pair in pairs) for pairs in matchings(list(range(len(of))))))


def probability(means: np.ndarray, cov: np.ndarray, counts: list[int]) -> float:
    """The probability of these counts in any Gaussian state: a loop hafnian of twice the total (Phys. Rev. A 100, 022341)."""
    m = len(counts)
    to_complex = np.block([[np.eye(m), 1j * np.eye(m)], [np.eye(m), -1j * np.eye(m)]]) / 2
    amplitudes = to_complex @ means
    husimi = to_complex @ cov @ to_complex.conj().T + np.eye(2 * m) / 2
    inverse = np.linalg.inv(husimi)
    swap = np.roll(np.eye(2 * m), m, axis=0)
    vacuum = np.exp(-amplitudes.conj() @ inverse @ amplitudes / 2) / np.sqrt(np.linalg.det(husimi))
    loops = amplitudes.conj() @ inverse
    hafnian = loop_hafnian(swap @ (np.eye(2 * m) - inverse), loops, counts * 2)
    return float((vacuum * hafnian).real) / math.prod(math.factorial(count) for count in counts)


def state(modes: int, transmission: float, displacement: float, heat: float, seed: int = 3) -> GaussianState:
    """Squeezed, warm and displaced modes, an interferometer and loss."""
    unitary = unitary_group.rvs(modes, random_state=seed)
    mix = np.block([[unitary.real, -unitary.imag], [unitary.imag, unitary.real]])
    squeezing = np.linspace(0.3, 0.7, modes)
    warm = 1 + 2 * heat * np.linspace(0, 1, modes)
    cov = mix @ np.diag(np.concatenate([warm * np.exp(-2 * squeezing), warm * np.exp(2 * squeezing)])) @ mix.T
    means = mix @ (2 * displacement * np.cos(np.arange(2 * modes)))
    return GaussianState(math.sqrt(transmission) * means, transmission * cov + (1 - transmission) * np.eye(2 * modes))


def p_value(observed: np.ndarray, wanted: np.ndarray) -> float:
    """Pearson's chi-square test; what is not listed, or is expected fewer than 10 times, shares one bin."""
    total = observed.sum()
    listed = wanted >= 10
    observed, wanted = (np.append(of[listed], total - of[listed].sum()) for of in (observed, wanted))
    return float(chi2.sf(np.sum((observed - wanted) ** 2 / np.maximum(wanted, 1e-9)), len(wanted) - 1))


@pytest.mark.parametrize("counts", [(1,), (3,), (1, 1), (2, 1), (1, 1, 1), (3, 2), (2, 1, 1), (2, 2, 1, 1)])
def test_amplitudes_are_loop_hafnians(counts: tuple[int, ...]) -> None:
    rng = np.random.default_rng(4)
    m = len(counts) + 1
    b = rng.normal(size=(m, m)) + 1j * rng.normal(size=(m, m))
    b += b.T
    gamma = rng.normal(size=(m, 2)) + 1j * rng.normal(size=(m, 2))
    lattices = [Lattice.empty(2)]
    for mode in reversed(range(len(counts))):  # the counts must be sorted into the shape
        lattices = joined(lattice.with_photons(mode, counts[mode], b[mode]) for lattice in lattices)
    series = lattices[0].polynomials(gamma, b[-1])
    for shot in range(2):
        for photons in range(3):
            single = [loop_hafnian(b[-1:, -1:], gamma[-1:, shot], [n]) / math.factorial(n) for n in range(photons + 1)]
            terms = [single[photons - n] * series[n, shot] for n in range(min(photons + 1, len(series)))]
            scale = math.factorial(photons) * math.prod(math.factorial(count) for count in counts)
            expected = loop_hafnian(b, gamma[:, shot], [*counts, photons])
            assert sum(terms) * scale == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    "counts", [(1,), (2,), (4,), (1, 1), (2, 1), (3, 2), (1, 1, 1), (2, 2, 1), (2, 1, 1, 1), (3, 3), (1,) * 8, (1,) * 9]
)
def test_the_sieve_gives_loop_hafnians(counts: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    m = len(counts) + 1
    b = rng.normal(size=(m, m)) + 1j * rng.normal(size=(m, m))
    b += b.T
    gamma = rng.normal(size=m) + 1j * rng.normal(size=m)
    series = Sieve(counts, np.arange(m - 1), 0, b).polynomial(gamma, b[-1])
    vacuum = loop_hafnian(b, gamma, [*counts, 0])
    one = loop_hafnian(b, gamma, [*counts, 1])
    assert (gamma[-1] * series[0] + series[1]) / series[0] == pytest.approx(one / vacuum, rel=1e-9)


def test_shots_with_many_photons_follow_the_exact_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here all shots with more than two photons use the sieve."""
    monkeypatch.setattr("sfjobs.platform.simulation.pure_states.MAX_LATTICE_POINTS", 4)
    given = state(3, 0.9, 0.4, 0.1)
    samples = PureStateSampler(given).sample(4000, np.random.default_rng(13))
    patterns = [[i, j, k] for i in range(5) for j in range(5 - i) for k in range(5 - i - j)]
    observed = np.array([np.sum(np.all(samples == pattern, axis=1)) for pattern in patterns])
    wanted = len(samples) * np.array([probability(given.means, given.cov, pattern) for pattern in patterns])
    rest = len(samples) - observed.sum(), len(samples) - wanted.sum()
    assert p_value(np.append(observed, rest[0]), np.append(wanted, rest[1])) > 1e-4


def test_lattice_and_sieve_agree_on_bright_patterns() -> None:
    rng = np.random.default_rng(6)
    b = 0.2 * (rng.normal(size=(7, 7)) + 1j * rng.normal(size=(7, 7)))
    b += b.T
    gamma = 2 * rng.normal(size=(7, 1)) + 2j * rng.normal(size=(7, 1))
    counts = (5, 4, 4, 3, 2, 1)
    lattice = Lattice.empty(1)
    for mode in reversed(range(6)):
        lattice = lattice.with_photons(mode, counts[mode], b[mode])
    expected = lattice.polynomials(gamma, b[6])[:, 0]
    series = Sieve(counts, np.arange(6), 0, b).polynomial(gamma[:, 0], b[6])
    np.testing.assert_allclose(
        series / series[0], expected / expected[0], rtol=0, atol=1e-8 * np.abs(expected[1] / expected[0])
    )


STATES = {
    "pure": (1.0, 0.0, 0.0),
    "lossy": (0.6, 0.0, 0.0),
    "displaced": (1.0, 0.3, 0.0),
    "lossy and displaced": (0.7, 0.4, 0.0),
    "warm": (1.0, 0.0, 0.2),
    "warm, lossy and displaced": (0.8, -0.3, 0.1),
}


@pytest.mark.parametrize("case", STATES)
def test_counts_follow_the_exact_probabilities(case: str) -> None:
    given = state(3, *STATES[case])
    samples = PureStateSampler(given).sample(SHOTS, np.random.default_rng(11))
    patterns = [[i, j, k] for i in range(5) for j in range(5 - i) for k in range(5 - i - j)]
    observed = np.array([np.sum(np.all(samples == pattern, axis=1)) for pattern in patterns])
    wanted = SHOTS * np.array([probability(given.means, given.cov, pattern) for pattern in patterns])
    rest = SHOTS - observed.sum(), SHOTS - wanted.sum()
    assert p_value(np.append(observed, rest[0]), np.append(wanted, rest[1])) > 1e-4


def photon_moments(given: GaussianState) -> tuple[np.ndarray, np.ndarray]:
    """``<n_i>`` and the covariance of n_i and n_j, by Wick's theorem for ``(x^2 + p^2) / 4 - 1/2`` in symmetric order."""
    m = given.num_modes
    square = 2 * given.cov**2 + 4 * np.outer(given.means, given.means) * given.cov
    of_modes = square[:m, :m] + square[:m, m:] + square[m:, :m] + square[m:, m:]
    second = given.means**2 + np.diag(given.cov)
    return (second[:m] + second[m:]) / 4 - 0.5, of_modes / 16 - np.eye(m) / 4


@pytest.mark.parametrize(("modes", "case"), [(8, "lossy"), (8, "warm"), (12, "pure"), (16, "lossy and displaced")])
def test_pair_correlations_are_exact(modes: int, case: str) -> None:
    given = state(modes, *STATES[case])
    given = given.after_loss(np.full(modes, 0.6))
    shots = 4_000
    samples = PureStateSampler(given).sample(shots, np.random.default_rng(modes)).astype(float)
    mean, covariance = photon_moments(given)
    centred = samples - mean
    first, second = np.triu_indices(modes)
    products = centred[:, first] * centred[:, second]
    # The sample's own deviation is too small where few shots have photons in both modes.
    spread = np.maximum(products.std(axis=0), np.sqrt(covariance[first, first] * covariance[second, second]))
    deviations = [
        (samples.mean(axis=0) - mean) / np.sqrt(np.diag(covariance)),
        (products.mean(axis=0) - covariance[first, second]) / spread,
    ]
    assert math.sqrt(shots) * max(np.max(np.abs(of)) for of in deviations) < 4.5  # of at most 152 values


def thinned_squeezed(squeezing: float, transmission: float, cutoff: int) -> np.ndarray:
    """The photon distribution of one squeezed mode after loss."""
    before = np.zeros(cutoff)
    for pairs in range((cutoff + 1) // 2):
        before[2 * pairs] = (
            math.tanh(squeezing) ** (2 * pairs) / math.cosh(squeezing) * math.comb(2 * pairs, pairs) / 4**pairs
        )
    return np.array(
        [
            sum(before[n] * math.comb(n, k) * transmission**k * (1 - transmission) ** (n - k) for n in range(k, cutoff))
            for k in range(cutoff)
        ]
    )


@pytest.mark.parametrize("transmission", [1.0, 0.5])
def test_the_total_follows_the_distribution_of_the_squeezers(transmission: float) -> None:
    """An interferometer and equal loss do not change it."""
    samples = PureStateSampler(state(6, transmission, 0.0, 0.0)).sample(SHOTS, np.random.default_rng(8))
    exact = np.ones(1)
    for squeezing in np.linspace(0.3, 0.7, 6):
        exact = np.convolve(exact, thinned_squeezed(squeezing, transmission, 50))[:50]
    observed = np.bincount(np.minimum(samples.sum(axis=1), 49), minlength=50)
    assert p_value(observed, SHOTS * exact) > 1e-4


def test_each_shot_may_have_its_own_means() -> None:
    given = state(2, 0.8, 0.0, 0.1)
    both = np.array([[0.0, 0.5, -0.3, 0.2], [1.6, 0.3, 0.7, -0.8]])
    shots = np.arange(SHOTS) % 2
    samples = PureStateSampler(given, both[shots]).sample(SHOTS, np.random.default_rng(9))
    patterns = [[i, j] for i in range(6) for j in range(6 - i)]
    for index, means in enumerate(both):
        own = samples[shots == index]
        observed = np.array([np.sum(np.all(own == pattern, axis=1)) for pattern in patterns])
        wanted = len(own) * np.array([probability(means, given.cov, pattern) for pattern in patterns])
        rest = len(own) - observed.sum(), len(own) - wanted.sum()
        assert p_value(np.append(observed, rest[0]), np.append(wanted, rest[1])) > 1e-4


def test_bright_light_beside_squeezed_light_has_no_cutoff_to_choose() -> None:
    """60 photons in the mode that is drawn first, where the probabilities below the first cutoff vanish."""
    given = state(2, 0.9, 0.0, 0.0)
    given.means = np.array([0.0, 15.0, 0.0, 4.0])
    samples = PureStateSampler(given).sample(SHOTS, np.random.default_rng(10)).astype(float)
    mean, covariance = photon_moments(given)
    assert samples.mean(axis=0) == pytest.approx(mean, abs=5 * math.sqrt(covariance.max() / SHOTS))
    assert np.cov(samples.T)[1, 1] == pytest.approx(covariance[1, 1], rel=0.05)
    assert np.cov(samples.T)[0, 1] == pytest.approx(covariance[0, 1], abs=0.1)


def test_states_with_too_many_photons_are_left_to_others() -> None:
    assert PureStateSampler(state(8, 0.5, 0.0, 0.0)).applies(1000)
    assert not PureStateSampler(state(16, 1.0, 1.5, 0.0)).applies(1)


def test_the_work_grows_with_the_photons() -> None:
    dim, bright = (PureStateSampler(state(16, transmission, 0.4, 0.0)) for transmission in (0.3, 1.0))
    assert bright.work(100_000) > 1.5 * dim.work(100_000)


def test_a_shot_with_too_many_photons_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfjobs.platform.simulation.pure_states.MAX_LATTICE_POINTS", 6)
    monkeypatch.setattr("sfjobs.platform.simulation.pure_states.MAX_SIEVE_TERMS", 1)
    samples = PureStateSampler(state(3, 1.0, 0.3, 0.0)).sample(2000, np.random.default_rng(12)).astype(int)
    assert np.prod(samples[:, :2] + 1, axis=1).max() <= 6
    assert samples.max() > 2
