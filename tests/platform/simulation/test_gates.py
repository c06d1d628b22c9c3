"""Each gate compared with numbers from the Gaussian backend of Strawberry Fields 0.23."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from sfjobs.platform.program import Operation, Program
from sfjobs.platform.simulation.circuit import read_circuit


def op(name: str, *arguments: Any, modes: Any, line: int = 0, **keywords: Any) -> Operation:
    return Operation(name, arguments, keywords, tuple(modes), line)


PREPARED = (
    op("Sgate", 0.4, 0.3, modes=[0]),
    op("Dgate", 0.5, 0.2, modes=[0]),
    op("Thermal", 0.3, modes=[1]),
    op("BSgate", 0.7, 0.4, modes=[0, 1]),
)

# Gate, its arguments and modes after PREPARED; means (x0 x1 p0 p1) and the upper triangle of the covariance matrix, hbar = 2.
STRAWBERRY_FIELDS = [
    (
        "Dgate",
        (0.7, 0.3),
        (1,),
        (0.7495963, 1.8691669, 0.1519507, 0.777481),
        (
            0.9500803,
            -0.4538486,
            -0.1535308,
            -0.3322844,
            1.3238454,
            -0.2315245,
            -0.3284799,
            1.9427272,
            0.2155289,
            1.658217,
        ),
    ),
    (
        "Xgate",
        (0.6,),
        (0,),
        (1.3495963, 0.5316958, 0.1519507, 0.3637527),
        (
            0.9500803,
            -0.4538486,
            -0.1535308,
            -0.3322844,
            1.3238454,
            -0.2315245,
            -0.3284799,
            1.9427272,
            0.2155289,
            1.658217,
        ),
    ),
    (
        "Zgate",
        (-0.4,),
        (1,),
        (0.7495963, 0.5316958, 0.1519507, -0.0362473),
        (
            0.9500803,
            -0.4538486,
            -0.1535308,
            -0.3322844,
            1.3238454,
            -0.2315245,
            -0.3284799,
            1.9427272,
            0.2155289,
            1.658217,
        ),
    ),
    (
        "Sgate",
        (0.5, 0.7),
        (1,),
        (0.7495963, 0.2655323, 0.1519507, 0.376663),
        (
            0.9500803,
            -0.21934,
            -0.1535308,
            -0.3547699,
            1.0513416,
            -0.2411504,
            -1.5760902,
            1.9427272,
            0.4066588,
            4.3481436,
        ),
    ),
    (
        "Pgate",
        (-0.8,),
        (0,),
        (0.7495963, 0.5316958, -0.4477263, 0.3637527),
        (
            0.9500803,
            -0.4538486,
            -0.9135951,
            -0.3322844,
            1.3238454,
            0.1315544,
            -0.3284799,
            2.796428,
            0.4813565,
            1.658217,
        ),
    ),
    (
        "Fouriergate",
        (),
        (1,),
        (0.7495963, -0.3637527, 0.1519507, 0.5316958),
        (
            0.9500803,
            0.3322844,
            -0.1535308,
            -0.4538486,
            1.658217,
            -0.2155289,
            0.3284799,
            1.9427272,
            -0.2315245,
            1.3238454,
        ),
    ),
    (
        "BSgate",
        (),
        (0, 1),
        (0.1540789, 0.9060103, -0.1497666, 0.3646573),
        (1.5908114, -0.1868826, 0.040899, 0.0370946, 0.6831143, 0.1378545, -0.5229098, 1.5849432, 0.1422551, 2.0160011),
    ),
    (
        "BSgate",
        (0.4, 1.1),
        (1, 0),
        (0.6581006, 0.3045817, 0.388735, 0.5683473),
        (
            1.1520636,
            -0.1361931,
            -0.4271312,
            -0.5040821,
            1.6635956,
            -0.3698441,
            -0.3263552,
            1.7411495,
            -0.0850872,
            1.3180613,
        ),
    ),
    (
        "MZgate",
        (0.3, 1.2),
        (0, 1),
        (-0.5484647, -0.6904685, 0.4684507, -0.054714),
        (1.437056, -0.4239782, 0.4612942, 0.2023482, 1.0486969, 0.3879603, -0.0247628, 1.4897399, 0.2385722, 1.899377),
    ),
    (
        "sMZgate",
        (0.3, 1.2),
        (1, 0),
        (0.3205566, 0.3392367, 0.8366085, 0.2867893),
        (
            1.8693811,
            -0.0089391,
            -0.526911,
            -0.2932816,
            1.5019224,
            -0.3940415,
            -0.1690323,
            0.9091125,
            -0.1741606,
            1.5944539,
        ),
    ),
    (
        "S2gate",
        (0.4, 0.9),
        (0, 1),
        (1.0631631, 0.815085, 0.2424684, 0.5956308),
        (
            0.8326639,
            -0.1240092,
            -0.2745795,
            0.3963319,
            1.3734185,
            0.856647,
            -0.5820433,
            2.2895742,
            -0.8963458,
            1.8380745,
        ),
    ),
    (
        "CXgate",
        (0.7,),
        (1, 0),
        (1.1217833, 0.5316958, 0.1519507, 0.2573872),
        (
            0.9633765,
            0.4728432,
            -0.315598,
            -0.3413018,
            1.3238454,
            -0.2315245,
            -0.1664128,
            1.9427272,
            -1.1443801,
            2.3084128,
        ),
    ),
    (
        "CZgate",
        (-0.6,),
        (0, 1),
        (0.7495963, 0.5316958, -0.1670668, -0.0860051),
        (
            0.9500803,
            -0.4538486,
            0.1187783,
            -0.9023326,
            1.3238454,
            -1.0258317,
            -0.0561708,
            2.697141,
            0.3413499,
            2.3989872,
        ),
    ),
    (
        "LossChannel",
        (0.6,),
        (1,),
        (0.7495963, 0.4118498, 0.1519507, 0.2817616),
        (
            0.9500803,
            -0.3515496,
            -0.1535308,
            -0.2573864,
            1.1943072,
            -0.1793381,
            -0.197088,
            1.9427272,
            0.166948,
            1.3949302,
        ),
    ),
    (
        "DisplacedSqueezed",
        (0.3, 0.4, 0.5, 0.6),
        (1,),
        (0.7495963, 0.5526366, 0.1519507, 0.233651),
        (0.9500803, 0, -0.1535308, 0, 0.5731452, 0, -0.6635685, 1.9427272, 0, 2.513016),
    ),
]


def state_after(*operations: Operation) -> tuple[np.ndarray, np.ndarray]:
    circuit = read_circuit(Program(operations=(*operations, op("MeasureFock", modes=[0, 1]))))
    state = circuit.state.after_loss(circuit.transmission)
    return state.means, state.cov


@pytest.mark.parametrize(
    ("name", "arguments", "modes", "means", "triangle"),
    STRAWBERRY_FIELDS,
    ids=[f"{name}{arguments}" for name, arguments, *_ in STRAWBERRY_FIELDS],
)
def test_a_gate_agrees_with_strawberry_fields(
    name: str, arguments: tuple[float, ...], modes: tuple[int, ...], means: Any, triangle: Any
) -> None:
    ours = state_after(*PREPARED, op(name, *arguments, modes=modes))
    np.testing.assert_allclose(np.concatenate([ours[0], ours[1][np.triu_indices(4)]]), means + triangle, atol=2e-7)


def test_thermal_loss_does_not_change_other_modes() -> None:
    """Strawberry Fields 0.23 adds the noise to every entry of its matrix; its documentation defines a channel on one mode."""
    _, before = state_after(*PREPARED)
    _, after = state_after(*PREPARED, op("ThermalLossChannel", 0.6, 0.5, modes=[1]))
    assert after[0, 0] == pytest.approx(before[0, 0])
    assert after[1, 1] == pytest.approx(0.6 * before[1, 1] + 0.4 * 2)
    assert after[0, 1] == pytest.approx(math.sqrt(0.6) * before[0, 1])


def test_keywords_name_the_parameters() -> None:
    by_name = state_after(*PREPARED, op("BSgate", modes=[0, 1], phi=0.3, theta=0.4))
    by_place = state_after(*PREPARED, op("BSgate", 0.4, 0.3, modes=[0, 1]))
    np.testing.assert_array_equal(by_name[1], by_place[1])


def test_loss_is_the_same_before_and_after_a_passive_gate() -> None:
    loss = [op("LossChannel", 0.6, modes=[mode]) for mode in (0, 1)]
    gate = op("BSgate", 0.4, 0.3, modes=[0, 1])
    first, last = state_after(*PREPARED, *loss, gate), state_after(*PREPARED, gate, *loss)
    np.testing.assert_allclose(first[1], last[1], atol=1e-12)
    np.testing.assert_allclose(first[0], last[0], atol=1e-12)


@pytest.mark.parametrize("later", [("Dgate", 0.4, 0.2), ("Sgate", 0.3), ("BSgate", 0.4, 0.1), ("Coherent", 0.3)])
def test_loss_before_a_gate_is_a_beamsplitter_with_a_lost_mode(later: tuple[Any, ...]) -> None:
    gate = op(later[0], *later[1:], modes=[0, 1] if later[0] == "BSgate" else [0])
    ours = state_after(*PREPARED, op("LossChannel", 0.3, modes=[0]), gate)
    coupled = (op("BSgate", math.acos(math.sqrt(0.3)), modes=[0, 2]), gate, op("MeasureFock", modes=[0]))
    whole = read_circuit(Program(operations=(*PREPARED, *coupled))).state.reduced([0, 1])
    np.testing.assert_allclose(ours[1], whole.cov, atol=1e-12)
    np.testing.assert_allclose(ours[0], whole.means, atol=1e-12)


def test_a_graph_is_embedded_with_the_given_mean_photon_number() -> None:
    adjacency = np.array([[0, 1], [1, 0.5]])
    _, cov = state_after(op("GraphEmbed", adjacency, modes=[0, 1], mean_photon_per_mode=0.7))
    assert (np.trace(cov) / 4 - 1) / 2 == pytest.approx(0.7)


def test_a_bipartite_graph_is_embedded_from_its_block_or_whole() -> None:
    whole = np.array([[0, 0.3], [0.3, 0]])
    of_whole = state_after(op("BipartiteGraphEmbed", whole, modes=[0, 1]))
    of_block = state_after(op("BipartiteGraphEmbed", whole[:1, 1:], modes=[0, 1]))
    squeezed = state_after(op("S2gate", math.asinh(1), modes=[0, 1]))
    np.testing.assert_allclose(of_whole[1], squeezed[1], atol=1e-9)
    np.testing.assert_allclose(of_block[1], squeezed[1], atol=1e-9)
