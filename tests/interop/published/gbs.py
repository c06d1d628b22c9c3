"""Applications of Gaussian boson sampling: dense subgraphs and cliques, graph similarity, point processes, vibronic spectra."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import strawberryfields as sf
from strawberryfields import ops
from strawberryfields.apps.qchem import vibronic

from tests.interop.published.rows import array_text, haar, headed, meaning_of, published


def _embedded(graph: Any, mean_photons: float, measurement: Any, loss: float = 0.0) -> Any:
    """A graph as the samplers of the applications embed it, with ``mean_photons`` in all."""
    modes = len(graph)
    program = sf.Program(modes)
    with program.context as q:
        ops.GraphEmbed(graph, mean_photon_per_mode=mean_photons / modes) | q
        if loss:
            for mode in q:
                ops.LossChannel(1 - loss) | mode
        measurement | q
    return program


def planted(nodes: int, core: int) -> Any:
    """A sparse random graph with a dense core."""
    rng = np.random.default_rng(nodes)
    density = np.full((nodes, nodes), 0.25)
    density[:core, :core] = 0.9
    upper = np.triu(rng.random((nodes, nodes)) < density, 1).astype(float)
    return upper + upper.T


@published("a dense subgraph, clicks", shots=4000)
def dense_subgraph() -> Any:
    return _embedded(planted(6, 3), 2.0, ops.MeasureThreshold())


@published("cliques of a weighted graph", shots=8000)
def cliques() -> Any:
    weights = np.diag(1 + 0.4 * np.arange(5) / 4)
    return _embedded(weights @ nx.to_numpy_array(nx.lollipop_graph(3, 2)) @ weights, 1.5, ops.MeasureFock())


@published("graph similarity, photon counts", shots=8000)
def similarity() -> Any:
    return _embedded(planted(8, 4), 2.5, ops.MeasureFock())


@published("graph similarity with loss", shots=6000)
def lossy_similarity() -> Any:
    return _embedded(nx.to_numpy_array(nx.cycle_graph(6)), 2.0, ops.MeasureFock(), loss=0.3)


@published("a point process", shots=6000)
def point_process() -> Any:
    points = np.random.default_rng(3).uniform(size=(8, 2))
    kernel = np.exp(-((points[:, None] - points) ** 2).sum(axis=2) / 0.1)
    return _embedded(kernel, 2.0, ops.MeasureThreshold())


@published("a graph with complex weights", shots=8000)
def complex_graph() -> Any:
    matrix = haar(4, 31)
    return _embedded(matrix @ np.diag([0.9, 0.6, 0.4, 0.1]) @ matrix.T, 1.6, ops.MeasureFock())


@published("a graph as a matrix in a script", shots=8000)
def graph_in_a_script() -> str:
    body = f"{array_text('A', planted(5, 3))}\n\nGraphEmbed(A, mean_photon_per_mode=0.3) | [0, 1, 2, 3, 4]\n"
    return headed(f"{body}MeasureFock() | [0, 1, 2, 3, 4]", "simulon_gaussian", 8000)


@meaning_of("a graph as a matrix in a script")
def _graph_meaning() -> Any:
    return _embedded(planted(5, 3), 1.5, ops.MeasureFock())


@published("a bipartite graph", shots=8000)
def bipartite() -> Any:
    block = np.array([[1.0, 0.4, 0.0], [0.4, 0.7, 0.3], [0.1, 0.3, 0.5]])
    zero = np.zeros((3, 3))
    program = sf.Program(6)
    with program.context as q:
        ops.BipartiteGraphEmbed(np.block([[zero, block], [block.T, zero]]), mean_photon_per_mode=0.25) | q
        ops.MeasureFock() | q
    return program


FREQUENCIES = np.array([1700.0, 1350.0, 1100.0])
EXCITED = np.array([1650.0, 1250.0, 1200.0])
DISPLACEMENT = np.array([0.35, -0.5, 0.2])


def _rotation() -> Any:
    angles = (0.3, -0.2)
    first, second = np.eye(3), np.eye(3)
    first[:2, :2] = [[np.cos(angles[0]), -np.sin(angles[0])], [np.sin(angles[0]), np.cos(angles[0])]]
    second[1:, 1:] = [[np.cos(angles[1]), -np.sin(angles[1])], [np.sin(angles[1]), np.cos(angles[1])]]
    return first @ second


def vibronic_program(temperature: float) -> Any:
    """A vibronic spectrum as the applications sample it: three modes, and three more where there is a temperature."""
    t, u1, r, u2, alpha = vibronic.gbs_params(FREQUENCIES, EXCITED, _rotation(), DISPLACEMENT, temperature)
    modes = len(alpha)
    program = sf.Program(2 * modes if temperature else modes)
    with program.context as q:
        if temperature:
            for mode in range(modes):
                ops.S2gate(t[mode]) | (q[mode], q[mode + modes])
        ops.Interferometer(u2) | q[:modes]
        for mode in range(modes):
            ops.Sgate(r[mode]) | q[mode]
        ops.Interferometer(u1) | q[:modes]
        for mode in range(modes):
            ops.Dgate(np.abs(alpha[mode]), np.angle(alpha[mode])) | q[mode]
        ops.MeasureFock() | q
    return program


@published("a vibronic spectrum", shots=10_000)
def cold_spectrum() -> Any:
    return vibronic_program(0.0)


@published("a vibronic spectrum at a temperature", shots=8000)
def warm_spectrum() -> Any:
    return vibronic_program(1000.0)


@published("a vibronic spectrum as one transformation", shots=8000)
def transformation() -> Any:
    program = sf.Program(3)
    squeezers = np.sqrt(EXCITED / FREQUENCIES)
    matrix = np.diag(squeezers) @ _rotation()
    symplectic = np.block([[matrix, np.zeros((3, 3))], [np.zeros((3, 3)), np.linalg.inv(matrix).T]])
    with program.context as q:
        for mode in range(3):
            ops.Thermal(0.1 * mode) | q[mode]
        ops.GaussianTransform(symplectic) | q
        for mode in range(3):
            ops.Dgate(DISPLACEMENT[mode]) | q[mode]
        ops.MeasureFock() | q
    return program


@published("vibrations of a molecule in time", shots=8000)
def dynamics() -> Any:
    """A quantum state of light through the dynamics of a molecule: an interferometer, rotations, and its inverse."""
    program, unitary = sf.Program(3), haar(3, 33)
    with program.context as q:
        ops.Squeezed(0.8, 0.4) | q[0]
        ops.Coherent(0.7, 0.9) | q[1]
        ops.Interferometer(unitary.conj().T) | q
        for mode, frequency in enumerate((1.1, 0.7, 0.4)):
            ops.Rgate(-frequency * 0.8) | q[mode]
        ops.Interferometer(unitary) | q
        ops.MeasureFock() | q
    return program
