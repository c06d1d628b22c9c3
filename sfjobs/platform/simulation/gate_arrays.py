"""The gates of ``gates`` for many values of their parameters at once: one symplectic matrix for each shot."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, TypeAlias

import numpy as np

from ..program import Array, Operation
from .gate_reader import read_gate

Parameters: TypeAlias = Mapping[str, Array]


def matrices(operation: Operation, parameters: Parameters) -> Array:
    """
    Return the matrices (shots, 2k, 2k) of a gate of ``ARRAY_GATES``, whose parameters are arrays (shots) by name.

    Raises:
        ProgramError: a value is out of bounds.
    """
    # All bounds of a parameter are lower and upper limits, so that its least and largest value are enough.
    extremes = [(value.min().item(), value.max().item()) for value in parameters.values()]
    for corner in itertools.product(*extremes):
        read_gate(replace(operation, arguments=(), keywords=dict(zip(parameters, corner, strict=True))))
    return ARRAY_GATES[operation.name](parameters)


def _real_form(passive: Array, active: Array) -> Array:
    """Return (shots, 2k, 2k) on (x, p) for the maps ``a -> passive a + active a^dagger`` (k, k, shots)."""
    plus, minus = passive + active, passive - active
    rows = [np.concatenate([plus.real, -minus.imag], axis=1), np.concatenate([plus.imag, minus.real], axis=1)]
    return np.moveaxis(np.concatenate(rows, axis=0), -1, 0)


def _rotation(parameters: Parameters) -> Array:
    phase = np.exp(1j * parameters["theta"])[np.newaxis, np.newaxis]
    return _real_form(phase, np.zeros_like(phase))


def _squeezing(parameters: Parameters) -> Array:
    r, phi = parameters["r"], parameters["phi"]
    passive = np.cosh(r)[np.newaxis, np.newaxis] + 0j
    return _real_form(passive, (-np.exp(1j * phi) * np.sinh(r))[np.newaxis, np.newaxis])


def _beamsplitter(parameters: Parameters) -> Array:
    c, s = np.cos(parameters["theta"]), np.sin(parameters["theta"])
    phase = np.exp(1j * parameters["phi"])
    passive = np.array([[c + 0j, -phase.conj() * s], [phase * s, c + 0j]])
    return _real_form(passive, np.zeros_like(passive))


def _two_mode_squeezing(parameters: Parameters) -> Array:
    r, link = parameters["r"], np.exp(1j * parameters["phi"]) * np.sinh(parameters["r"])
    zero = np.zeros_like(link)
    alone = np.cosh(r) + 0j
    return _real_form(np.array([[alone, zero], [zero, alone]]), np.array([[zero, link], [link, zero]]))


def _shear(modes: int, *entries: tuple[int, int, int]) -> Callable[[Parameters], Array]:
    def matrix(parameters: Parameters) -> Array:
        matrices = np.tile(np.eye(2 * modes), (len(parameters["s"]), 1, 1))
        for i, j, sign in entries:
            matrices[:, i, j] = sign * parameters["s"]
        return matrices

    return matrix


ARRAY_GATES: Final[Mapping[str, Callable[[Parameters], Array]]] = {
    "Rgate": _rotation,
    "Sgate": _squeezing,
    "Pgate": _shear(1, (1, 0, 1)),
    "BSgate": _beamsplitter,
    "S2gate": _two_mode_squeezing,
    "CXgate": _shear(2, (1, 0, 1), (2, 3, -1)),
    "CZgate": _shear(2, (2, 1, 1), (3, 0, 1)),
}
