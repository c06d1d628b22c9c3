"""Projections of matrices: nearest, idempotent, and without effect on exact ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.stats import unitary_group

from sfjobs.platform.simulation.projection import (
    nearest_contraction,
    nearest_covariance,
    nearest_symplectic,
    nearest_unitary,
)

NOISE = 3e-5


def omega(modes: int) -> np.ndarray:
    return np.kron([[0, 1], [-1, 0]], np.eye(modes))


def symmetric(rng: np.random.Generator, size: int) -> np.ndarray:
    half = rng.normal(size=(size, size))
    return np.asarray(half + half.T)


def transform(rng: np.random.Generator, modes: int, size: float = 0.2) -> np.ndarray:
    return np.asarray(expm(size * omega(modes) @ symmetric(rng, 2 * modes)))


def passive(rng: np.random.Generator, modes: int) -> np.ndarray:
    u = unitary_group.rvs(modes, random_state=rng)
    return np.block([[u.real, -u.imag], [u.imag, u.real]])


def rounded(matrix: np.ndarray, digits: int) -> np.ndarray:
    return np.asarray(np.round(matrix, digits))


def disturbed(rng: np.random.Generator, matrix: np.ndarray) -> np.ndarray:
    noise = rng.uniform(-NOISE, NOISE, matrix.shape)
    return np.asarray(matrix + noise + (1j * rng.permutation(noise) if np.iscomplexobj(matrix) else 0))


def neighbour(rng: np.random.Generator, kind: str, matrix: np.ndarray, size: float) -> np.ndarray:
    """A random valid matrix near a valid one."""
    n = len(matrix)
    if kind == "unitary":
        return np.asarray(matrix @ expm(1j * size * symmetric(rng, n)))
    if kind == "contraction":
        left, values, right = np.linalg.svd(matrix + size * rng.normal(size=(n, n, 2)) @ [1, 1j])
        return np.asarray(left * np.minimum(values, 1) @ right)
    move = transform(rng, n // 2, size)
    return np.asarray(move @ matrix if kind == "symplectic" else move @ matrix @ move.T)


def example(kind: str, rng: np.random.Generator, modes: int) -> np.ndarray:
    if kind == "unitary":
        return np.asarray(unitary_group.rvs(modes, random_state=rng))
    if kind == "contraction":
        u, v = (unitary_group.rvs(modes, random_state=rng) for _ in range(2))
        return np.asarray(u * np.where(np.arange(modes) % 2, 0.7, 1.0) @ v)
    s = transform(rng, modes)
    if kind == "symplectic":
        return s
    nu = np.where(np.arange(modes) % 2, 1.4, 1.0) if kind == "mixed" else np.ones(modes)
    cov = s @ np.diag(np.tile(nu, 2)) @ s.T
    return np.asarray((cov + cov.T) / 2)


PROJECTIONS = {
    "unitary": nearest_unitary,
    "contraction": nearest_contraction,
    "symplectic": nearest_symplectic,
    "pure": nearest_covariance,
    "mixed": nearest_covariance,
}


@pytest.mark.parametrize("kind", PROJECTIONS)
@pytest.mark.parametrize("modes", [1, 2, 3, 5])
def test_the_result_is_the_nearest(kind: str, modes: int) -> None:
    rng = np.random.default_rng(modes)
    given = disturbed(rng, example(kind, rng, modes))
    if kind in {"pure", "mixed"}:
        given = (given + given.T) / 2
    nearest = PROJECTIONS[kind](given)
    distance = np.linalg.norm(given - nearest)
    for size in (1e-8, 1e-7, 1e-6, 1e-5, 1e-4):
        for _ in range(20):
            assert np.linalg.norm(given - neighbour(rng, kind, nearest, size)) >= distance * (1 - 1e-6)


@pytest.mark.parametrize("kind", PROJECTIONS)
@pytest.mark.parametrize("digits", [4, 6, 7, 8, 10, 12, 16])
def test_a_projection_is_idempotent_and_moves_no_exact_matrix(kind: str, digits: int) -> None:
    rng = np.random.default_rng(digits)
    for modes in (1, 2, 4, 7):
        exact = example(kind, rng, modes)
        np.testing.assert_array_equal(PROJECTIONS[kind](exact), exact)
        nearest = PROJECTIONS[kind](rounded(exact, digits))
        np.testing.assert_allclose(PROJECTIONS[kind](nearest), nearest, rtol=0, atol=2e-14)
        np.testing.assert_allclose(nearest, exact, rtol=0, atol=2 * 10.0**-digits + 1e-14)


@pytest.mark.parametrize("digits", [6, 7, 9, 12])
def test_the_results_satisfy_their_equations(digits: int) -> None:
    rng = np.random.default_rng(digits)
    u = nearest_unitary(rounded(example("unitary", rng, 6), digits))
    np.testing.assert_allclose(u @ u.conj().T, np.eye(6), rtol=0, atol=1e-14)
    for s in (transform(rng, 4), passive(rng, 4)):
        nearest = nearest_symplectic(rounded(s, digits))
        np.testing.assert_allclose(nearest @ omega(4) @ nearest.T, omega(4), rtol=0, atol=1e-13 * np.max(nearest) ** 2)
    np.testing.assert_allclose(nearest @ nearest.T, np.eye(8), rtol=0, atol=1e-14)


def test_an_orthogonal_matrix_with_noise_becomes_orthogonal() -> None:
    rng = np.random.default_rng(1)
    for modes in (1, 2, 4):
        exact = passive(rng, modes)
        nearest = nearest_symplectic(exact + rng.normal(size=exact.shape) * 1e-7)
        np.testing.assert_allclose(nearest @ nearest.T, np.eye(2 * modes), rtol=0, atol=1e-14)


@pytest.mark.parametrize("digits", [6, 7, 8, 10, 12])
def test_the_number_of_lossless_modes_does_not_depend_on_the_digits(digits: int) -> None:
    rng = np.random.default_rng(digits)
    for modes in (1, 2, 3, 8):
        exact = example("contraction", rng, modes)
        values = np.linalg.svd(nearest_contraction(rounded(exact, digits)), compute_uv=False)
        assert values.max() <= 1 + 1e-12
        assert np.count_nonzero(values > 1 - 2e-12) == (modes + 1) // 2


@pytest.mark.parametrize("digits", [6, 7, 8, 10, 12])
@pytest.mark.parametrize("form", ["f", "g"])
def test_the_number_of_normal_modes_with_noise_does_not_depend_on_the_digits(digits: int, form: str) -> None:
    rng = np.random.default_rng(digits)
    for nu in ([1, 1, 1], [1, 1, 1.4], [1.2, 1.01, 2], [1, 1.3, 7]):
        for size in (0.1, 0.3):
            s = transform(rng, 3, size)
            cov = s @ np.diag([*nu, *nu]) @ s.T
            cov = (cov + cov.T) / 2
            text = [f"{value:.{digits}{form}}" for value in cov.ravel()]
            nearest = nearest_covariance(np.array(text, dtype=float).reshape(6, 6))
            found = np.sort(np.linalg.eigvals(1j * omega(3) @ nearest).real)[3:]
            noise = 1e-11 + 2e-14 * np.max(cov) ** 2
            assert np.count_nonzero(found > 1 + noise) == np.count_nonzero(np.greater(nu, 1))
            assert found.min() >= 1 - noise
            unit = 10.0**-digits if form == "f" else 10.0 ** (1 - digits) * np.max(cov)
            np.testing.assert_allclose(nearest, cov, rtol=0, atol=2 * unit)


DELIBERATE = {
    "weak squeezing": (nearest_symplectic, np.diag(np.exp([5e-5, -5e-5]))),
    "weak loss": (nearest_contraction, np.diag([0.999999, 0.999999])),
    "weak loss of one mode": (nearest_contraction, np.diag([1, 0.99999])),
    "few thermal photons": (nearest_covariance, 1.000001 * np.eye(2)),
    "thermal photons with five digits": (nearest_covariance, 1.00002 * np.eye(4)),
    "pure beside thermal": (nearest_covariance, np.diag([2, 1.00001, 0.5, 1.00001])),
    "strong squeezing": (nearest_covariance, np.diag([1250, 8.1e-4])),
    "many thermal photons": (nearest_covariance, 3e5 * np.eye(2)),
}


@pytest.mark.parametrize("name", DELIBERATE)
def test_a_valid_matrix_that_differs_by_a_unit_of_its_last_digit_stays(name: str) -> None:
    project, matrix = DELIBERATE[name]
    np.testing.assert_array_equal(project(matrix), matrix)


def test_a_unit_of_the_last_digit_in_one_mode_counts_beside_many_rounded_modes() -> None:
    s = transform(np.random.default_rng(1), 6)
    cov = rounded(1.5 * s @ s.T, 6)
    cov = np.insert(np.insert(cov, [6, 12], 0, axis=0), [6, 12], 0, axis=1)
    cov[6, 6] = cov[13, 13] = 1.000001
    np.testing.assert_array_equal(nearest_covariance(cov), cov)


def test_a_covariance_is_raised_where_it_violates_the_uncertainty_relation_and_only_there() -> None:
    nearest = nearest_covariance(np.diag([1 - 3e-5, 1.3, 1 - 3e-5, 1.2]))
    np.testing.assert_allclose(nearest, np.diag([1, 1.3, 1, 1.2]), rtol=0, atol=1e-13)
