"""
Graphs as Gaussian states: what Strawberry Fields' GraphEmbed and BipartiteGraphEmbed prepare from the vacuum, the pure state
``exp(a^dagger c A a^dagger / 2) |0>`` with c chosen for the mean photon number (Bradler et al., Phys. Rev. A 98, 032310).
"""

from __future__ import annotations

import numpy as np

from ..program import Array, Operation
from .arguments import REQUIRED, Arguments
from .limits import unsupported
from .state import GaussianState, state_of_generator

NAMES = frozenset({"GraphEmbed", "BipartiteGraphEmbed"})


def embedded(operation: Operation) -> GaussianState:
    """The state of the modes of a GraphEmbed or BipartiteGraphEmbed that acts on the vacuum."""
    adjacency, mean = _graph(operation) if operation.name == "GraphEmbed" else _bipartite(operation)
    singular = np.linalg.svd(adjacency, compute_uv=False)
    if singular[0] <= 1e-7:
        raise unsupported("the singular values of A are too small to embed", operation)
    return state_of_generator(adjacency * _scaling(singular, mean * len(adjacency)))


def _graph(operation: Operation) -> tuple[Array, float]:
    arguments = Arguments(operation, {"A": REQUIRED, "mean_photon_per_mode": 1.0, "make_traceless": False, "tol": 1e-6})
    adjacency = arguments.matrix("A", len(operation.modes))
    arguments.check(adjacency - adjacency.T, np.ones(1), "A is not symmetric")
    if arguments.flag("make_traceless"):
        adjacency = adjacency - np.trace(adjacency) * np.eye(len(adjacency)) / len(adjacency)
    return (adjacency + adjacency.T) / 2, _mean(arguments)


def _bipartite(operation: Operation) -> tuple[Array, float]:
    """The whole adjacency matrix; when half as large as the modes, A is its upper right block (``edges=True``)."""
    defaults = {"A": REQUIRED, "mean_photon_per_mode": 1.0, "edges": False, "drop_identity": True, "tol": 1e-6}
    arguments = Arguments(operation, defaults)
    modes = len(operation.modes)
    half = modes // 2
    if modes % 2:
        raise unsupported(f"acts on an even number of modes, not {modes}", operation)
    # Strawberry Fields writes programs with the block alone and without `edges`, so the shape decides.
    arguments.flag("edges")
    matrix = arguments.matrix("A", half, modes)
    if len(matrix) == modes:
        outside = np.concatenate([matrix[:half, :half], matrix[half:, half:]])
        arguments.check(outside, np.ones(1), "A is not the adjacency matrix of a graph between the two halves")
        arguments.check(matrix - matrix.T, np.ones(1), "A is not symmetric")
        matrix = matrix[:half, half:]
    nothing = np.zeros_like(matrix)
    return np.block([[nothing, matrix], [matrix.T, nothing]]), _mean(arguments)


def _mean(arguments: Arguments) -> float:
    return arguments.real("mean_photon_per_mode", 0, 1e4)


def _scaling(singular: Array, photons: float) -> float:
    """The c for which ``sum (c s)^2 / (1 - (c s)^2)`` is the mean photon number; it grows with c, so bisection finds it."""
    low, high = 0.0, 1.0 / float(singular[0])
    for _ in range(200):
        middle = (low + high) / 2
        squares = (middle * singular) ** 2
        if np.any(squares >= 1) or np.sum(squares / (1 - squares)) > photons:
            high = middle
        else:
            low = middle
    return low
