"""
The operations of Strawberry Fields as Gaussian maps, in its conventions (hbar = 2). Unitary gates are written as maps of the
annihilation operators, ``a -> P a + Q a^dagger + d``, after the definitions in its documentation.
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
from .projection import nearest_contraction, nearest_covariance, nearest_symplectic, nearest_unitary, symmetrized
from .state import real_form

Kind: TypeAlias = Literal["passive", "active", "displacement", "loss", "channel", "preparation"]

_MAX_SQUEEZING: Final = 18.0
MAX_AMPLITUDE: Final = 1e5
_MAX_SHEAR: Final = 1e8
_MAX_THERMAL_PHOTONS: Final = 1e8
_MAX_FOURIER_ERROR: Final = 1e-3
"""Largest difference, in radians, of an angle printed for pi / 2: scripts have 1.57 and longer numbers."""


@dataclass(frozen=True, slots=True)
class GaussianMap:
    """
    The map ``r -> matrix r + shift``, ``cov -> matrix cov matrix^T + noise`` on the modes of one operation. ``kind`` decides
    whether loss can be moved past it: equal loss commutes with passive maps. ``transmission`` is that of a loss channel.
    """

    kind: Kind
    matrix: Array | None = None
    noise: Array | None = None
    shift: Array | None = None
    transmission: float = 1.0
    correction: float = 0.0
    """The largest move of an entry of a printed matrix."""


@dataclass(frozen=True, slots=True)
class Gate:
    """``defaults`` are the parameters in order; the number of modes is in ``program.GATE_MODES``."""

    defaults: Mapping[str, object]
    transform: Callable[[Arguments], GaussianMap]


def _squeezing(arguments: Arguments, name: str) -> float:
    r = arguments.real(name)
    if abs(r) > _MAX_SQUEEZING:
        raise beyond_limit(f"{name} = {r:g} is more squeezing than double precision holds", arguments.operation)
    return r


def _amplitude(arguments: Arguments, r_name: str, phi_name: str) -> complex:
    r = arguments.real(r_name)
    _check_amplitude(arguments, r_name, r)
    return r * cmath.exp(1j * arguments.real(phi_name))


def _check_amplitude(arguments: Arguments, name: str, value: complex) -> None:
    if abs(value) > MAX_AMPLITUDE:
        raise beyond_limit(f"{name} = {value:g} is more light than is simulated", arguments.operation)


def _old_amplitude(arguments: Arguments) -> complex:
    """Return the amplitude of ``(r, phi)``, or of one complex number, as scripts for Strawberry Fields before 0.17 have it."""
    if arguments.is_given("phi"):
        return _amplitude(arguments, "r", "phi")
    alpha = arguments.number("r")
    _check_amplitude(arguments, "r", alpha)
    return alpha


def _fourier(arguments: Arguments) -> GaussianMap:
    # The text that Strawberry Fields writes has the angle, though the gate takes none.
    angle = arguments.real("theta")
    if abs(angle - math.pi / 2) > _MAX_FOURIER_ERROR:
        raise arguments.error(f"rotates by pi / 2, not by {angle:g}: write Rgate for another angle")
    return _passive(_rotation(math.pi / 2))


def _passive(matrix: Array) -> GaussianMap:
    return GaussianMap("passive", real_form(matrix.astype(complex)))


def _rotation(phi: float) -> Array:
    return np.array([[cmath.exp(1j * phi)]])


def _beamsplitter(theta: float, phi: float) -> Array:
    c, s = math.cos(theta), math.sin(theta)
    return np.array([[c, -cmath.exp(-1j * phi) * s], [cmath.exp(1j * phi) * s, c]])


_BALANCED: Final = _beamsplitter(math.pi / 4, math.pi / 2)


def _mach_zehnder(arguments: Arguments) -> GaussianMap:
    inner, outer = (cmath.exp(1j * arguments.real(name)) for name in ("phi_in", "phi_ex"))
    return _passive(_BALANCED @ np.diag([inner, 1]) @ _BALANCED @ np.diag([outer, 1]))


def _symmetric_mach_zehnder(arguments: Arguments) -> GaussianMap:
    upper, lower = (cmath.exp(1j * (arguments.real(name) - math.pi / 2)) for name in ("phi_in", "phi_ex"))
    return _passive(_BALANCED @ np.diag([upper, lower]) @ _BALANCED)


def _squeezer(arguments: Arguments, r_name: str, phi_name: str) -> Array:
    r, phi = _squeezing(arguments, r_name), arguments.real(phi_name)
    return real_form(np.array([[math.cosh(r) + 0j]]), np.array([[-cmath.exp(1j * phi) * math.sinh(r)]]))


def _two_mode_squeezer(arguments: Arguments) -> GaussianMap:
    r, phi = _squeezing(arguments, "r"), arguments.real("phi")
    link = cmath.exp(1j * phi) * math.sinh(r)
    return GaussianMap("active", real_form(math.cosh(r) * np.eye(2) + 0j, np.array([[0, link], [link, 0]])))


def _shear(modes: int, *entries: tuple[int, int, int]) -> Callable[[Arguments], GaussianMap]:
    """Return the map ``r_i -> r_i + sign s r_j`` for each entry (i, j, sign)."""

    def transform(arguments: Arguments) -> GaussianMap:
        matrix = np.eye(2 * modes)
        for i, j, sign in entries:
            matrix[i, j] = sign * arguments.real("s", -_MAX_SHEAR, _MAX_SHEAR)
        return GaussianMap("active", matrix)

    return transform


def _quadrature(arguments: Arguments, name: str) -> float:
    return arguments.real(name, -2 * MAX_AMPLITUDE, 2 * MAX_AMPLITUDE)


def _displacement(alpha: complex) -> GaussianMap:
    return GaussianMap("displacement", shift=_means(alpha))


def _means(alpha: complex) -> Array:
    return np.array([2 * alpha.real, 2 * alpha.imag])


def _interferometer(arguments: Arguments) -> GaussianMap:
    unitary = arguments.matrix("U", len(arguments.operation.modes))
    return _passive(arguments.corrected(unitary, nearest_unitary, "U is not unitary", "unitary matrix"))


def _gaussian_transform(arguments: Arguments) -> GaussianMap:
    m = len(arguments.operation.modes)
    matrix = arguments.matrix("S", 2 * m, real=True)
    matrix = arguments.corrected(matrix, nearest_symplectic, "S is not symplectic", "symplectic matrix")
    orthogonal = np.allclose(matrix @ matrix.T, np.eye(2 * m), rtol=0, atol=1e-11)
    return GaussianMap("passive" if orthogonal else "active", matrix)


def _thermal_loss(arguments: Arguments) -> GaussianMap:
    t, nbar = arguments.real("T", 0, 1), arguments.real("nbar", 0, _MAX_THERMAL_PHOTONS)
    if nbar == 0:
        return GaussianMap("loss", transmission=t)
    return GaussianMap("channel", math.sqrt(t) * np.eye(2), (1 - t) * (2 * nbar + 1) * np.eye(2))


def _measured_squeezing(arguments: Arguments) -> GaussianMap:
    """
    Squeezing by a squeezed ancilla, its homodyne detection and feed-forward (Filip, Marek and Andersen, Phys. Rev. A 71, 042308).

    With ``avg=False`` the ancilla has a reading in each shot. The samples do not show it, so their distribution is the same.
    """
    arguments.flag("avg")
    r, phi = _squeezing(arguments, "r"), arguments.real("phi")
    r_anc, efficiency = _squeezing(arguments, "r_anc"), arguments.real("eta_anc", 1e-6, 1)
    turn = real_form(_rotation((phi + math.pi if r < 0 else phi) / 2))
    shrink = math.exp(-abs(r))
    tangent = 1 / shrink**2 - 1
    noise = np.diag([(1 - shrink**2) * math.exp(-2 * r_anc), tangent * (1 - efficiency) / efficiency])
    return GaussianMap("channel", turn @ np.diag([shrink, 1 / shrink]) @ turn.T, turn @ noise @ turn.T)


def _passive_channel(arguments: Arguments) -> GaussianMap:
    matrix = arguments.matrix("T", len(arguments.operation.modes))
    fault = "T amplifies (a singular value is above 1)"
    matrix = arguments.corrected(matrix, nearest_contraction, fault, "passive channel")
    values = np.linalg.svd(matrix, compute_uv=False)
    if np.allclose(values, 1, rtol=0, atol=1e-12):
        return _passive(matrix)
    real = real_form(matrix)
    return GaussianMap("channel", real, np.eye(len(real)) - real @ real.T)


def _preparation(cov: Array, shift: Array | None = None) -> GaussianMap:
    return GaussianMap("preparation", np.zeros_like(cov), cov, shift)


def _squeezed(arguments: Arguments, r_name: str, phi_name: str) -> Array:
    matrix = _squeezer(arguments, r_name, phi_name)
    return matrix @ matrix.T


def _displaced_squeezed(arguments: Arguments) -> GaussianMap:
    given = arguments.operation.arguments
    if given and isinstance(given[0], complex) and len(given) <= 3:
        # Scripts for Strawberry Fields before 0.17: a complex amplitude, then the squeezing. Now all arguments are real.
        old = Arguments(arguments.operation, {"alpha": 0.0, "r": 0.0, "p": 0.0})
        alpha = old.number("alpha")
        _check_amplitude(old, "alpha", alpha)
        return _preparation(_squeezed(old, "r", "p"), _means(alpha))
    return _preparation(_squeezed(arguments, "r_s", "phi_s"), _means(_amplitude(arguments, "r_d", "phi_d")))


def _gaussian(arguments: Arguments) -> GaussianMap:
    m = len(arguments.operation.modes)
    cov = arguments.matrix("V", 2 * m, real=True)
    means = np.zeros(2 * m) if arguments.value("r") is None else arguments.vector("r", 2 * m)
    if np.max(np.abs(means)) > 2 * MAX_AMPLITUDE:
        raise beyond_limit(
            f"r has an entry of {np.max(np.abs(means)):g}, which is more light than is simulated", arguments.operation
        )
    symmetric = arguments.corrected(cov, symmetrized, "V is not symmetric", "symmetric matrix")
    fault = "V violates the uncertainty relation for hbar = 2"
    return _preparation(
        arguments.corrected(symmetric, nearest_covariance, fault, "covariance matrix of a state"), means
    )


_BSGATE: Final[dict[str, object]] = {"theta": math.pi / 4, "phi": 0.0}
_MESH: Final[dict[str, object]] = {"mesh": "rectangular", "drop_identity": True, "tol": 1e-6}

GATES: Final[Mapping[str, Gate]] = {
    "Vacuum": Gate({}, lambda _: _preparation(np.eye(2))),
    "Coherent": Gate({"r": 0.0, "phi": 0.0}, lambda a: _preparation(np.eye(2), _means(_old_amplitude(a)))),
    "Squeezed": Gate({"r": 0.0, "p": 0.0}, lambda a: _preparation(_squeezed(a, "r", "p"))),
    "DisplacedSqueezed": Gate(
        {"r_d": 0.0, "phi_d": 0.0, "r_s": 0.0, "phi_s": 0.0},
        _displaced_squeezed,
    ),
    "Thermal": Gate({"n": 0.0}, lambda a: _preparation((2 * a.real("n", 0, _MAX_THERMAL_PHOTONS) + 1) * np.eye(2))),
    "Gaussian": Gate({"V": REQUIRED, "r": None, "decomp": True, "tol": 1e-6}, _gaussian),
    "Dgate": Gate({"r": REQUIRED, "phi": 0.0}, lambda a: _displacement(_old_amplitude(a))),
    "Xgate": Gate({"x": REQUIRED}, lambda a: _displacement(complex(_quadrature(a, "x") / 2, 0))),
    "Zgate": Gate({"p": REQUIRED}, lambda a: _displacement(complex(0, _quadrature(a, "p") / 2))),
    "Sgate": Gate({"r": REQUIRED, "phi": 0.0}, lambda a: GaussianMap("active", _squeezer(a, "r", "phi"))),
    "Pgate": Gate({"s": REQUIRED}, _shear(1, (1, 0, 1))),
    "Rgate": Gate({"theta": REQUIRED}, lambda a: _passive(_rotation(a.real("theta")))),
    "Fouriergate": Gate({"theta": math.pi / 2}, _fourier),
    "BSgate": Gate(_BSGATE, lambda a: _passive(_beamsplitter(a.real("theta"), a.real("phi")))),
    "MZgate": Gate({"phi_in": REQUIRED, "phi_ex": REQUIRED}, _mach_zehnder),
    "sMZgate": Gate({"phi_in": REQUIRED, "phi_ex": REQUIRED}, _symmetric_mach_zehnder),
    "S2gate": Gate({"r": REQUIRED, "phi": 0.0}, _two_mode_squeezer),
    "CXgate": Gate({"s": 1.0}, _shear(2, (1, 0, 1), (2, 3, -1))),
    "CZgate": Gate({"s": 1.0}, _shear(2, (2, 1, 1), (3, 0, 1))),
    "Interferometer": Gate({"U": REQUIRED, **_MESH}, _interferometer),
    "GaussianTransform": Gate({"S": REQUIRED, "vacuum": False, "tol": 1e-10}, _gaussian_transform),
    "LossChannel": Gate({"T": REQUIRED}, lambda a: GaussianMap("loss", transmission=a.real("T", 0, 1))),
    "ThermalLossChannel": Gate({"T": REQUIRED, "nbar": REQUIRED}, _thermal_loss),
    "PassiveChannel": Gate({"T": REQUIRED}, _passive_channel),
    "MSgate": Gate({"r": REQUIRED, "phi": 0.0, "r_anc": 10.0, "eta_anc": 1.0, "avg": True}, _measured_squeezing),
}

ALIASES: Final[Mapping[str, str]] = {
    "Vac": "Vacuum",
    "Fourier": "Fouriergate",
    "Measure": "MeasureFock",
    "MeasureHD": "MeasureHeterodyne",
}

NON_GAUSSIAN: Final = frozenset(
    {"Kgate", "Vgate", "CKgate", "Fock", "Catstate", "GKP", "Ket", "DensityMatrix", "Bosonic"}
)
"""Operations of Strawberry Fields that are not Gaussian."""
