"""
Matrices that were printed with few digits, and the nearest ones that are exactly unitary, symplectic or the covariance of a
state: nearest in the Frobenius norm. A matrix that is exact within rounding is returned as it is, so that each projection is
idempotent. If the digits cannot tell a matrix from a lossless one (a unitary, an orthogonal matrix, a state with normal modes
without noise), it becomes that, so that the sampler does not depend on the number of digits.

An array of infinite entries stands for "none is near".
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from ..program import Array
from .state import real_form, symplectic_form

_ROUNDING: Final = 2e-14
_FEWEST_DIGITS: Final = 6
_MOST_DIGITS: Final = 12
_MAX_STEPS: Final = 20
_LAST_STEP: Final = 1e-9
"""The steps converge quadratically: after one of this size the rest is below rounding."""

_LARGEST_MOVE: Final = 0.95
"""
Rounding moves an entry by at most 0.71 units of the last digit, 0.5 in each part, and the projection of 216 x 216 such errors
stays below this. An entry that was meant to differ by one unit is not changed.
"""


def distance(first: Array, second: Array) -> float:
    """Return the largest difference of two entries; infinity if it is not a number."""
    largest = float(np.max(np.abs(first - second), initial=0.0))
    return largest if np.isfinite(largest) else np.inf


def symmetrized(matrix: Array) -> Array:
    """Return the nearest symmetric matrix."""
    return (matrix + matrix.T) / 2


def nearest_unitary(matrix: Array) -> Array:
    """Return the nearest unitary, the unitary factor of the polar decomposition."""
    if distance(matrix @ matrix.conj().T, np.eye(len(matrix))) <= _ROUNDING:
        return matrix
    left, _, right = np.linalg.svd(matrix)
    return np.asarray(left @ right)


def nearest_contraction(matrix: Array) -> Array:
    """Return the nearest matrix without a singular value above 1; those that the digits cannot tell from 1 become 1."""
    left, values, right = np.linalg.svd(matrix)
    excess = max(0.0, float(values[0]) - 1)
    if np.allclose(values, 1, rtol=0, atol=1e-12):
        return matrix
    clipped = np.asarray((left * np.minimum(values, 1)) @ right) if excess > _ROUNDING else matrix
    unit = _print_unit(matrix)
    noise = max(unit * np.sqrt(2 * len(matrix)), 3 * excess)
    lossless = np.asarray((left * np.where(values >= 1 - noise, 1, values)) @ right)
    same = np.all(np.abs(values[values >= 1 - noise] - 1) <= _ROUNDING)
    return clipped if same or not _is_explained(lossless, matrix, unit, 2 * distance(clipped, matrix)) else lossless


def nearest_symplectic(matrix: Array) -> Array:
    """
    Return the nearest symplectic matrix, or the nearest orthogonal one if that is about as near. Each step is the smallest change
    that solves the linearized ``S omega S^T = omega``; the steps converge quadratically.
    """
    m = len(matrix) // 2
    omega = symplectic_form(m)
    if distance(matrix @ omega @ matrix.T, omega) <= _rounding_of_product(matrix):
        return matrix
    nearest = _newton(matrix, omega)
    upper, lower = matrix[:m], matrix[m:]
    passive = (upper[:, :m] + lower[:, m:] + 1j * (lower[:, :m] - upper[:, m:])) / 2
    orthogonal = real_form(nearest_unitary(passive))
    return orthogonal if distance(orthogonal, matrix) <= 3 * distance(nearest, matrix) < np.inf else nearest


def _newton(matrix: Array, omega: Array) -> Array:
    result = matrix
    for _ in range(_MAX_STEPS):
        left, values, _ = np.linalg.svd(result)
        squares = values * values
        residual = left.T @ (result @ omega @ result.T - omega) @ left
        step = left @ (residual / np.maximum(squares[:, None] + squares, 1e-300)) @ left.T @ result @ omega
        result = result + step
        if np.max(np.abs(step)) <= _LAST_STEP:
            break
    # The steps also end where no smallest change exists, as at zero.
    is_symplectic = distance(result @ omega @ result.T, omega) <= 10 * _rounding_of_product(result)
    return np.asarray(result) if is_symplectic else np.full_like(matrix, np.inf)


def nearest_covariance(cov: Array) -> Array:
    """
    Return the nearest covariance V of a state for a symmetric matrix. It has ``V + i omega >= 0``, and the kernel of that is
    spanned by the normal modes without noise (symplectic eigenvalue 1). Modes whose noise is below the digits become such modes.
    """
    modes = len(cov) // 2
    omega = symplectic_form(modes)
    rounding = 10 * _ROUNDING * max(1.0, float(np.max(np.abs(cov))))
    if distance(cov @ omega @ cov.T, omega) <= _rounding_of_product(cov) and np.linalg.eigvalsh(cov)[0] >= -rounding:
        return cov
    values = np.linalg.eigvalsh(cov + 1j * omega)
    violation = max(0.0, -float(values[0]))
    units = _print_units_of_covariance(cov)
    noise = max(float(np.max(units)) * np.sqrt(len(cov)), 3 * violation, rounding)
    noiseless = int(np.count_nonzero(values <= noise))
    if np.max(np.abs(values[:noiseless]), initial=0.0) <= rounding:
        return cov
    if noiseless <= modes:
        purer = _with_kernel(cov, omega, noiseless)
        if _is_explained(purer, cov, units, 2 * violation) and _is_state(purer, omega, rounding):
            return purer
    return _raised(cov, omega, int(np.count_nonzero(values < -rounding)), rounding) if violation > rounding else cov


def _raised(cov: Array, omega: Array, violations: int, rounding: float) -> Array:
    """Return the nearest covariance of a state: the condition holds with equality where ``cov`` violates it."""
    for dimension in range(violations, min(violations + 3, len(cov) // 2 + 1)):
        raised = _with_kernel(cov, omega, dimension)
        if _is_state(raised, omega, rounding):
            return raised
    return np.full_like(cov, np.inf)


def _is_state(cov: Array, omega: Array, rounding: float) -> bool:
    return bool(np.isfinite(cov).all() and np.linalg.eigvalsh(cov + 1j * omega)[0] >= -10 * rounding)


def _with_kernel(cov: Array, omega: Array, dimension: int) -> Array:
    """
    Return the nearest symmetric V for which ``V + i omega`` has a kernel of this dimension, at its lowest eigenvalues, in steps
    as above. A pure V is a symmetric symplectic matrix, which takes a third of the time.
    """
    if dimension == len(cov) // 2:
        pure = _newton(cov, omega)
        if np.isfinite(pure).all():
            return symmetrized(pure)
    result = cov
    for _ in range(_MAX_STEPS):
        kernel = np.linalg.eigh(result + 1j * omega)[1][:, :dimension]
        residual = kernel.conj().T @ (result + 1j * omega) @ kernel
        step = (kernel @ _multiplier(kernel, residual) @ kernel.conj().T).real
        result = result + (step + step.T) / 2
        if np.max(np.abs(step)) <= _LAST_STEP:
            return np.asarray(result)
    return np.full_like(cov, np.inf)


def _multiplier(kernel: Array, residual: Array) -> Array:
    """
    Return the Hermitian L for which ``X = Re(Z L Z^H)`` solves ``Z^H X Z = -residual`` for Z, ``kernel``, with orthonormal
    columns. That X has the least norm. With the Takagi factors ``Z^H conj(Z) = U s U^T`` the equation is solved entry by entry.
    """
    vectors, s = _takagi(kernel.conj().T @ kernel.conj())
    right = -2 * vectors.conj().T @ residual @ vectors
    products = np.outer(s, s)
    solved = right.real / (1 + products) + 1j * right.imag / np.maximum(1 - products, 1e-15)
    return np.asarray(vectors @ solved @ vectors.conj().T)


def _takagi(symmetric: Array) -> tuple[Array, Array]:
    """Return a unitary U and s >= 0 with ``U s U^T`` equal to a complex symmetric matrix, where s below 1e-8 counts as 0."""
    real, imag = symmetric.real, symmetric.imag
    values, vectors = np.linalg.eigh(np.block([[real, imag], [imag, -real]]))
    chosen = values > 1e-8
    x, y = np.split(vectors[:, chosen], 2)
    positive = x + 1j * y
    rest = np.linalg.svd(positive)[0][:, positive.shape[1] :] if positive.size else np.eye(len(symmetric))
    return np.concatenate([positive, rest], axis=1), np.concatenate([values[chosen], np.zeros(rest.shape[1])])


def _is_explained(candidate: Array, matrix: Array, unit: Array | float, other: float) -> bool:
    """
    Return whether ``matrix`` can be ``candidate`` after rounding to numbers with this ``unit`` of the last digit, or differs from
    it by at most ``other``.
    """
    moves = np.abs(candidate - matrix)
    parts = (matrix.real != 0).astype(int) + (matrix.imag != 0)
    largest_norm = np.sqrt(np.sum(parts * np.square(unit))) / 2
    rounded = np.all(moves <= _LARGEST_MOVE * np.asarray(unit)) and np.linalg.norm(moves) <= largest_norm
    return bool(rounded or np.max(moves) <= other)


def _print_unit(matrix: Array) -> float:
    """Return the unit of the last digit of the largest entry, or 0 for a matrix of full digits."""
    parts = np.concatenate([matrix.real.ravel(), matrix.imag.ravel()])
    largest = float(np.max(np.abs(parts)))
    magnitude = 10.0 ** math.floor(math.log10(max(largest, 1e-300)))
    return max(_unit_of_decimals(parts), _relative_unit(parts) * magnitude)


def _print_units_of_covariance(cov: Array) -> Array:
    """Return the unit of the last digit of each entry; of small ones as if they were as large as their row and column."""
    deviations = np.sqrt(np.maximum(np.diag(cov), 1e-300))
    return np.maximum(_unit_of_decimals(cov), _relative_unit(cov.ravel()) * np.outer(deviations, deviations))


def _unit_of_decimals(numbers: Array) -> float:
    """Return 10^-d if the numbers have d digits after the point; 0 if more than 12."""
    rounding = 1e-15 * float(np.max(np.abs(numbers)))
    for digits in range(_FEWEST_DIGITS, _MOST_DIGITS + 1):
        if distance(np.round(numbers, digits), numbers) <= rounding:
            return float(10.0**-digits)
    return 0.0


def _relative_unit(numbers: Array) -> float:
    """Return 10^(1 - d) if the numbers have d significant digits; 0 if more than 12."""
    nonzero = np.abs(numbers[numbers != 0])
    leading = nonzero / 10.0 ** np.floor(np.log10(nonzero))
    for digits in range(_FEWEST_DIGITS, _MOST_DIGITS + 1):
        if distance(np.round(leading, digits - 1), leading) <= 2e-15 * 10:
            return float(10.0 ** (1 - digits))
    return 0.0


def _rounding_of_product(matrix: Array) -> float:
    return _ROUNDING * max(1.0, float(np.max(np.abs(matrix)))) ** 2
