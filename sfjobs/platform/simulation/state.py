"""
Gaussian states as means and covariance of the quadratures, hbar = 2 (vacuum variance 1), in the order
``x_0 .. x_{m-1}, p_0 .. p_{m-1}``. Gates change a state in place; the samplers use the properties below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..program import Array
from .limits import MAX_VARIANCE


def real_form(passive: Array, active: Array | None = None) -> Array:
    """Return the real (2m, 2m) matrix on ``(x, p)`` of the map ``a -> passive a + active a^dagger``."""
    plus, minus = (passive, passive) if active is None else (passive + active, passive - active)
    rows, columns = passive.shape
    real: Array = np.empty((2 * rows, 2 * columns))  # numpy.block takes 30 us
    real[:rows, :columns], real[:rows, columns:] = plus.real, -minus.imag
    real[rows:, :columns], real[rows:, columns:] = plus.imag, minus.real
    return real


def quadrature_indices(modes: Sequence[int], num_modes: int) -> Array:
    """Return the indices of the quadratures of some of ``num_modes`` modes: all x, then all p."""
    chosen = np.asarray(modes, dtype=np.intp)
    return np.concatenate([chosen, chosen + num_modes])


def symplectic_form(modes: int) -> Array:
    """Return ``omega`` (2m, 2m): zero with the blocks 1 and -1 off the diagonal."""
    return real_form(-1j * np.eye(modes))


class GaussianState:
    """A Gaussian state of m modes, with ``means`` (2m) and the covariance ``cov`` (2m, 2m)."""

    __slots__ = ("cov", "means")

    def __init__(self, means: Array, cov: Array) -> None:
        self.means = means
        self.cov = cov

    @classmethod
    def vacuum(cls, modes: int) -> GaussianState:
        return cls(np.zeros(2 * modes), np.eye(2 * modes))

    @property
    def num_modes(self) -> int:
        return len(self.means) // 2

    def indices(self, modes: Sequence[int]) -> Array:
        """Return the indices of the quadratures of these modes: all x, then all p."""
        return quadrature_indices(modes, self.num_modes)

    def apply(
        self, modes: Sequence[int], matrix: Array | None, noise: Array | None = None, shift: Array | None = None
    ) -> None:
        """Apply the Gaussian map ``r -> matrix r + shift``, ``cov -> matrix cov matrix^T + noise`` to some modes, in place."""
        where = self.indices(modes)
        if matrix is not None:
            self.cov[where, :] = matrix @ self.cov[where, :]
            self.cov[:, where] = self.cov[:, where] @ matrix.T
            self.means[where] = matrix @ self.means[where]
        if noise is not None:
            self.cov[np.ix_(where, where)] += noise
        if shift is not None:
            self.means[where] += shift

    def reduced(self, modes: Sequence[int]) -> GaussianState:
        """Return the reduced state of some modes (partial trace over the others)."""
        where = self.indices(modes)
        return GaussianState(self.means[where], self.cov[np.ix_(where, where)])

    def after_loss(self, transmission: Array) -> GaussianState:
        """Return the state after a loss channel with this energy ``transmission`` (m) on each mode."""
        doubled = np.concatenate([transmission, transmission])
        scale = np.sqrt(doubled)
        return GaussianState(scale * self.means, scale[:, None] * self.cov * scale + np.diag(1 - doubled))

    def is_vacuum(self, modes: Sequence[int]) -> bool:
        """Return whether these modes are in the vacuum, and thus independent of all others."""
        part = self.reduced(modes)
        return bool(np.allclose(part.cov, np.eye(len(part.cov)), rtol=0, atol=1e-12) and not part.means.any())

    def is_too_bright(self, modes: Sequence[int]) -> bool:
        """Return whether these modes are squeezed beyond what double precision holds."""
        return not np.max(np.abs(self.cov[self.indices(modes)]), initial=0.0) <= MAX_VARIANCE

    @property
    def rounding(self) -> float:
        """The rounding error to expect in products of two covariances."""
        return 1e-11 + 100 * float(np.finfo(float).eps) * float(np.max(np.abs(self.cov), initial=1.0)) ** 2

    @property
    def is_pure(self) -> bool:
        """Whether every symplectic eigenvalue is 1."""
        m = self.num_modes
        product = np.concatenate([self.cov[:, m:], -self.cov[:, :m]], axis=1)  # cov times minus omega
        return bool(np.max(np.abs(product @ product + np.eye(2 * m)), initial=0.0) <= self.rounding)

    @property
    def is_classical(self) -> bool:
        """Whether the state is a mixture of coherent states: no quadrature variance is below that of the vacuum."""
        return bool(np.min(np.linalg.eigvalsh(self.cov), initial=1.0) >= 1 - 1e-11)

    def moments(self) -> tuple[Array, Array, Array]:
        """
        Return the moments ``alpha_i = <a_i>`` and, about the means, ``N_ij = <a_i^dagger a_j>`` and ``M_ij = <a_i a_j>``.
        """
        m = self.num_modes
        xx, xp, pp = self.cov[:m, :m], self.cov[:m, m:], self.cov[m:, m:]
        alpha = (self.means[:m] + 1j * self.means[m:]) / 2
        number = (xx + pp + 1j * (xp - xp.T)) / 4 - np.eye(m) / 2
        anomalous = (xx - pp + 1j * (xp + xp.T)) / 4
        return alpha, number, anomalous

    def amplitude_generator(self) -> tuple[Array, Array]:
        """
        Return ``B`` (m, m) and ``gamma`` (m) of a pure state, proportional to
        ``exp(a^dagger B a^dagger / 2 + gamma a^dagger) |0>``.
        """
        alpha, number, anomalous = self.moments()
        b = np.linalg.solve(np.eye(self.num_modes) + number.T, anomalous)
        b = (b + b.T) / 2
        return b, alpha - b @ alpha.conj()

    def purified(self) -> GaussianState:
        """
        Return a purification: a pure state with the modes of this state first, then one mode for each symplectic eigenvalue
        above 1. It follows Williamson's normal form; each thermal normal mode is half of a two-mode squeezed vacuum.
        """
        m = self.num_modes
        nu, normal_x, normal_p = self._noisy_normal_modes()
        link = np.sqrt(nu * nu - 1)
        cross_x, cross_p = normal_x * link, -normal_p * link
        k = len(nu)
        cov = np.zeros((2 * (m + k), 2 * (m + k)))
        own = np.concatenate([np.arange(m), np.arange(m) + m + k])
        x, p = np.arange(k) + m, np.arange(k) + 2 * m + k
        cov[np.ix_(own, own)] = self.cov
        cov[x, x] = cov[p, p] = nu
        cov[np.ix_(own, x)], cov[np.ix_(own, p)] = cross_x, cross_p
        cov[np.ix_(x, own)], cov[np.ix_(p, own)] = cross_x.T, cross_p.T
        means = np.zeros(2 * (m + k))
        means[own] = self.means
        return GaussianState(means, cov)

    def pure_part(self) -> tuple[GaussianState, Array]:
        """
        Return a pure state with the same means, and a matrix L (2m, k) such that ``L L^T`` added to its covariance is that of
        this state, which is thus the pure one with a normally distributed displacement. It follows Williamson's normal form.
        """
        nu, normal_x, normal_p = self._noisy_normal_modes()
        noise = np.concatenate([normal_x, normal_p], axis=1) * np.sqrt(np.tile(nu - 1, 2))
        return GaussianState(self.means, self.cov - noise @ noise.T), noise

    def _noisy_normal_modes(self) -> tuple[Array, Array, Array]:
        """Return the symplectic eigenvalues (k) above 1, and the normal modes (2m, k) of x and of p, columns of a symplectic."""
        m = self.num_modes
        values, vectors = np.linalg.eigh(self.cov)
        root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
        form = np.concatenate([-root[:, m:], root[:, :m]], axis=1) @ root  # root omega root, antisymmetric
        eigenvalues, basis = np.linalg.eigh(1j * (form - form.T) / 2)
        nu, basis = eigenvalues[m:], basis[:, m:] * np.sqrt(2)
        noisy = nu > 1 + self.rounding
        nu, u, v = nu[noisy], basis.real[:, noisy], -basis.imag[:, noisy]
        scale = 1 / np.sqrt(nu)
        return nu, (root @ u) * scale, (root @ v) * scale


def state_of_generator(b: Array) -> GaussianState:
    """Return the pure state proportional to ``exp(a^dagger B a^dagger / 2) |0>``; B is symmetric, its singular values below 1."""
    m = len(b)
    inverse = np.linalg.inv(np.eye(m) - b @ b.conj())
    number, anomalous = inverse.T - np.eye(m), inverse @ b
    xx = (2 * (number + anomalous) + np.eye(m)).real
    pp = (2 * (number - anomalous) + np.eye(m)).real
    xp = 2 * (number + anomalous).imag
    cov = np.block([[xx, xp], [xp.T, pp]])
    return GaussianState(np.zeros(2 * m), (cov + cov.T) / 2)


@dataclass(frozen=True, slots=True)
class LossyState:
    """``state`` with a loss channel of energy ``transmission`` (m) on each mode, not yet applied."""

    state: GaussianState
    transmission: Array

    def reduced(self, modes: Sequence[int]) -> LossyState:
        return LossyState(self.state.reduced(modes), self.transmission[list(modes)])

    def after_loss(self) -> GaussianState:
        return self.state if np.all(self.transmission == 1) else self.state.after_loss(self.transmission)
