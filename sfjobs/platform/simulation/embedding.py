"""
Graphs as Gaussian states: the operations GraphEmbed and BipartiteGraphEmbed of Strawberry Fields on the vacuum. They prepare the
pure state ``exp(a^dagger c A a^dagger / 2) |0>``, where c sets the mean photon number (Bradler et al., Phys. Rev. A 98, 032310).
"""

from __future__ import annotations

import numpy as np

from ..program import Array, Operation
from .arguments import REQUIRED, Arguments
from .limits import unsupported
from .projection import symmetrized
from .state import GaussianState, state_of_generator

NAMES = frozenset({"GraphEmbed", "BipartiteGraphEmbed"})


def embedded_state(operation: Operation) -> tuple[GaussianState, float]:
    """
    Return the state that a GraphEmbed or BipartiteGraphEmbed prepares from the vacuum, and the largest move of an entry of A that
    made it symmetric. Raises ``ProgramError``.
    """
    adjacency, arguments = _graph(operation) if operation.name == "GraphEmbed" else _bipartite(operation)
    singular = np.linalg.svd(adjacency, compute_uv=False)
    if singular[0] <= 1e-7:
        raise unsupported("the singular values of A are too small to embed", operation)
    photons = arguments.real("mean_photon_per_mode", 0, 1e4) * len(adjacency)
    return state_of_generator(adjacency * _scaling(singular, photons)), arguments.correction


def _graph(operation: Operation) -> tuple[Array, Arguments]:
    arguments = Arguments(operation, {"A": REQUIRED, "mean_photon_per_mode": 1.0, "make_traceless": False, "tol": 1e-6})
    adjacency = _symmetric(arguments, arguments.matrix("A", len(operation.modes)))
    if arguments.flag("make_traceless"):
        adjacency = adjacency - np.trace(adjacency) * np.eye(len(adjacency)) / len(adjacency)
    return adjacency, arguments


def _bipartite(operation: Operation) -> tuple[Array, Arguments]:
    """Return the whole adjacency matrix. A matrix of half the size is its upper right block (``edges=True``)."""
    defaults = {"A": REQUIRED, "mean_photon_per_mode": 1.0, "edges": False, "drop_identity": True, "tol": 1e-6}
    arguments = Arguments(operation, defaults)
    modes = len(operation.modes)
    half = modes // 2
    if modes % 2:
        raise unsupported(f"acts on an even number of modes, not {modes}", operation)
    # Strawberry Fields emits the block without `edges=True`, so the shape of A decides.
    arguments.flag("edges")
    matrix = arguments.matrix("A", half, modes)
    if len(matrix) == modes:
        between = np.kron([[0, 1], [1, 0]], np.ones((half, half)))
        fault = "A has entries within the halves"
        wanted = "graph between the two halves"
        matrix = arguments.corrected(matrix, lambda full: full * between, fault, wanted, scale_free=True)
        matrix = _symmetric(arguments, matrix)[:half, half:]
    nothing = np.zeros_like(matrix)
    return np.block([[nothing, matrix], [matrix.T, nothing]]), arguments


def _symmetric(arguments: Arguments, adjacency: Array) -> Array:
    # A is scaled to the mean photon number, so an error of small entries is not small.
    return arguments.corrected(adjacency, symmetrized, "A is not symmetric", "symmetric matrix", scale_free=True)


def _scaling(singular: Array, photons: float) -> float:
    """Return the c for which the mean photon number, ``sum (c s)^2 / (1 - (c s)^2)``, is ``photons``, by bisection."""
    low, high = 0.0, 1.0 / float(singular[0])
    for _ in range(200):
        middle = (low + high) / 2
        squares = (middle * singular) ** 2
        if np.any(squares >= 1) or np.sum(squares / (1 - squares)) > photons:
            high = middle
        else:
            low = middle
    return low
