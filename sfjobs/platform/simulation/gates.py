"""
What each operation of Strawberry Fields does to a Gaussian state, in its conventions (hbar = 2). The gates are written as
maps of the annihilation operators, ``a -> P a + Q a^dagger + d``, after the definitions in its documentation.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from ..program import Array
from .arguments import REQUIRED, Arguments
from .limits import beyond_limit
from .state import real_form

Kind: TypeAlias = Literal["passive", "active", "displacement", "loss", "channel", "preparation"]

_MAX_SQUEEZING: Final = 18.0
_MAX_AMPLITUDE: Final = 1e5
_SHEAR: Final = 1e8


@dataclass(frozen=True, slots=True)
class Effect:
    """
    ``r -> matrix r + shift``, ``cov -> matrix cov matrix^T + noise`` on the modes of one operation. ``kind`` tells what may
    be moved past it: loss passes what is passive. ``transmission`` is that of a pure loss.
    """

    kind: Kind
    matrix: Array | None = None
    noise: Array | None = None
    shift: Array | None = None
    transmission: float = 1.0


@dataclass(frozen=True, slots=True)
class Gate:
    """``modes`` is how many modes it acts on (0: as many as are named); ``defaults`` are its parameters in order."""

    modes: int
    defaults: Mapping[str, object]
    effect: Callable[[Arguments], Effect]


def _squeezing(arguments: Arguments, name: str) -> float:
    r = arguments.real(name)
    if abs(r) > _MAX_SQUEEZING:
        raise beyond_limit(f"{name} = {r:g} is more squeezing than double precision holds", arguments.operation)
    return r


def _amplitude(arguments: Arguments, r: str, phi: str) -> complex:
    size = arguments.real(r)
    if abs(size) > _MAX_AMPLITUDE:
        raise beyond_limit(f"{r} = {size:g} is more light than is simulated", arguments.operation)
    return size * cmath.exp(1j * arguments.real(phi))


def _passive(matrix: Array) -> Effect:
    return Effect("passive", real_form(matrix.astype(complex)))


def _rotation(phi: float) -> Array:
    return np.array([[cmath.exp(1j * phi)]])


def _beamsplitter(theta: float, phi: float) -> Array:
    c, s = math.cos(theta), math.sin(theta)
    return np.array([[c, -cmath.exp(-1j * phi) * s], [cmath.exp(1j * phi) * s, c]])


_HALF: Final = _beamsplitter(math.pi / 4, math.pi / 2)


def _mach_zehnder(arguments: Arguments) -> Effect:
    inner, outer = (cmath.exp(1j * arguments.real(name)) for name in ("phi_in", "phi_ex"))
    return _passive(_HALF @ np.diag([inner, 1]) @ _HALF @ np.diag([outer, 1]))


def _symmetric_mach_zehnder(arguments: Arguments) -> Effect:
    upper, lower = (cmath.exp(1j * (arguments.real(name) - math.pi / 2)) for name in ("phi_in", "phi_ex"))
    return _passive(_HALF @ np.diag([upper, lower]) @ _HALF)


def _squeezer(r: float, phi: float) -> Array:
    return real_form(np.array([[math.cosh(r) + 0j]]), np.array([[-cmath.exp(1j * phi) * math.sinh(r)]]))


def _two_mode_squeezer(arguments: Arguments) -> Effect:
    r, phi = _squeezing(arguments, "r"), arguments.real("phi")
    link = cmath.exp(1j * phi) * math.sinh(r)
    return Effect("active", real_form(math.cosh(r) * np.eye(2) + 0j, np.array([[0, link], [link, 0]])))


def _shear(target: int, source: int, size: int, sign: int = 1) -> Callable[[Arguments], Effect]:
    """Add a multiple of one quadrature to another; the controlled-X moves two, and so gets its second entry below."""

    def effect(arguments: Arguments) -> Effect:
        s = arguments.real("s", -_SHEAR, _SHEAR)
        matrix = np.eye(2 * size)
        matrix[target, source] = s
        if size == 2:
            partner_target, partner_source = (source + 2) % 4, (target + 2) % 4
            matrix[partner_target, partner_source] = sign * s
        return Effect("active", matrix)

    return effect


def _quadrature_shift(index: int, name: str) -> Callable[[Arguments], Effect]:
    def effect(arguments: Arguments) -> Effect:
        shift = np.zeros(2)
        shift[index] = arguments.real(name, -2 * _MAX_AMPLITUDE, 2 * _MAX_AMPLITUDE)
        return Effect("displacement", shift=shift)

    return effect


def _shift(alpha: complex) -> Array:
    return np.array([2 * alpha.real, 2 * alpha.imag])


def _interferometer(arguments: Arguments) -> Effect:
    unitary = arguments.matrix("U", len(arguments.operation.modes))
    arguments.check(unitary @ unitary.conj().T - np.eye(len(unitary)), np.ones(1), "U is not unitary")
    return _passive(unitary)


def _gaussian_transform(arguments: Arguments) -> Effect:
    m = len(arguments.operation.modes)
    matrix = arguments.matrix("S", 2 * m, real=True)
    omega = np.block([[np.zeros((m, m)), np.eye(m)], [-np.eye(m), np.zeros((m, m))]])
    arguments.check(matrix @ omega @ matrix.T - omega, matrix @ matrix.T, "S is not symplectic")
    orthogonal = np.allclose(matrix @ matrix.T, np.eye(2 * m), rtol=0, atol=1e-11)
    return Effect("passive" if orthogonal else "active", matrix)


def _loss(arguments: Arguments) -> Effect:
    return Effect("loss", transmission=arguments.real("T", 0, 1))


def _thermal_loss(arguments: Arguments) -> Effect:
    t, nbar = arguments.real("T", 0, 1), arguments.real("nbar", 0, 1e8)
    if nbar == 0:
        return Effect("loss", transmission=t)
    return Effect("channel", math.sqrt(t) * np.eye(2), (1 - t) * (2 * nbar + 1) * np.eye(2))


def _passive_channel(arguments: Arguments) -> Effect:
    matrix = arguments.matrix("T", len(arguments.operation.modes))
    values = np.linalg.svd(matrix, compute_uv=False)
    arguments.check(np.maximum(values - 1, 0), np.ones(1), "T amplifies: a singular value is above 1")
    if np.allclose(values, 1, rtol=0, atol=1e-12):
        return _passive(matrix)
    real = real_form(matrix)
    return Effect("channel", real, np.eye(len(real)) - real @ real.T)


def _preparation(cov: Array, shift: Array | None = None) -> Effect:
    return Effect("preparation", np.zeros_like(cov), cov, shift)


def _squeezed(arguments: Arguments, r: str, phi: str) -> Array:
    matrix = _squeezer(_squeezing(arguments, r), arguments.real(phi))
    return matrix @ matrix.T


def _gaussian(arguments: Arguments) -> Effect:
    m = len(arguments.operation.modes)
    cov = arguments.matrix("V", 2 * m, real=True)
    means = np.zeros(2 * m) if arguments.value("r") is None else arguments.vector("r", 2 * m)
    arguments.check(cov - cov.T, cov, "V is not symmetric")
    cov = (cov + cov.T) / 2
    omega = np.block([[np.zeros((m, m)), np.eye(m)], [-np.eye(m), np.zeros((m, m))]])
    lowest = np.linalg.eigvalsh(cov + 1j * omega)[:1]
    arguments.check(np.minimum(lowest, 0), cov, "V is no state: it violates the uncertainty relation for hbar = 2")
    return _preparation(cov, means)


_MESH: Final[dict[str, object]] = {"mesh": "rectangular", "drop_identity": True, "tol": 1e-6}

GATES: Final[Mapping[str, Gate]] = {
    "Vacuum": Gate(1, {}, lambda _: _preparation(np.eye(2))),
    "Coherent": Gate(1, {"r": 0.0, "phi": 0.0}, lambda a: _preparation(np.eye(2), _shift(_amplitude(a, "r", "phi")))),
    "Squeezed": Gate(1, {"r": 0.0, "p": 0.0}, lambda a: _preparation(_squeezed(a, "r", "p"))),
    "DisplacedSqueezed": Gate(
        1,
        {"r_d": 0.0, "phi_d": 0.0, "r_s": 0.0, "phi_s": 0.0},
        lambda a: _preparation(_squeezed(a, "r_s", "phi_s"), _shift(_amplitude(a, "r_d", "phi_d"))),
    ),
    "Thermal": Gate(1, {"n": 0.0}, lambda a: _preparation((2 * a.real("n", 0, 1e8) + 1) * np.eye(2))),
    "Gaussian": Gate(0, {"V": REQUIRED, "r": None, "decomp": True, "tol": 1e-6}, _gaussian),
    "Dgate": Gate(
        1,
        {"r": REQUIRED, "phi": 0.0},
        lambda a: Effect("displacement", shift=_shift(_amplitude(a, "r", "phi"))),
    ),
    "Xgate": Gate(1, {"x": REQUIRED}, _quadrature_shift(0, "x")),
    "Zgate": Gate(1, {"p": REQUIRED}, _quadrature_shift(1, "p")),
    "Sgate": Gate(
        1, {"r": REQUIRED, "phi": 0.0}, lambda a: Effect("active", _squeezer(_squeezing(a, "r"), a.real("phi")))
    ),
    "Pgate": Gate(1, {"s": REQUIRED}, _shear(target=1, source=0, size=1)),
    "Rgate": Gate(1, {"theta": REQUIRED}, lambda a: _passive(_rotation(a.real("theta")))),
    "Fouriergate": Gate(1, {}, lambda _: _passive(_rotation(math.pi / 2))),
    "BSgate": Gate(
        2,
        {"theta": math.pi / 4, "phi": 0.0},
        lambda a: _passive(_beamsplitter(a.real("theta"), a.real("phi"))),
    ),
    "MZgate": Gate(2, {"phi_in": REQUIRED, "phi_ex": REQUIRED}, _mach_zehnder),
    "sMZgate": Gate(2, {"phi_in": REQUIRED, "phi_ex": REQUIRED}, _symmetric_mach_zehnder),
    "S2gate": Gate(2, {"r": REQUIRED, "phi": 0.0}, _two_mode_squeezer),
    "CXgate": Gate(2, {"s": 1.0}, _shear(target=1, source=0, size=2, sign=-1)),
    "CZgate": Gate(2, {"s": 1.0}, _shear(target=2, source=1, size=2)),
    "Interferometer": Gate(0, {"U": REQUIRED, **_MESH}, _interferometer),
    "GaussianTransform": Gate(0, {"S": REQUIRED, "vacuum": False, "tol": 1e-10}, _gaussian_transform),
    "LossChannel": Gate(1, {"T": REQUIRED}, _loss),
    "ThermalLossChannel": Gate(1, {"T": REQUIRED, "nbar": REQUIRED}, _thermal_loss),
    "PassiveChannel": Gate(0, {"T": REQUIRED}, _passive_channel),
}

ALIASES: Final[Mapping[str, str]] = {"Vac": "Vacuum", "Fourier": "Fouriergate", "MeasureHD": "MeasureHeterodyne"}

NON_GAUSSIAN: Final = frozenset(
    {"Kgate", "Vgate", "CKgate", "Fock", "Catstate", "GKP", "Ket", "DensityMatrix", "Bosonic", "MSgate"}
)
"""Known to Strawberry Fields, unknown to a Gaussian simulation."""
