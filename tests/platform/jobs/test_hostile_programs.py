"""Small texts that ask for a lot: refused at submission, in little time and memory, and without a warning of numpy."""

from __future__ import annotations

import tracemalloc
import warnings

import httpx
import pytest

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only, pytest.mark.timeout(60)]

LIMIT_BYTES = 200_000_000
HUGE = 2**63 - 1


def program(*lines: str, kind: str = "", shots: int = 10) -> str:
    return "\n".join(["name hostile", "version 1.0", f"target simulon_gaussian (shots={shots})", kind, *lines, ""])


def stream(*lines: str, options: str) -> str:
    return program(*lines, kind=f"type tdm ({options})")


COUNT = "MeasureFock() | 0"
SUBMISSIONS = {
    # templates
    "a million parameters in a loop": program("for int m in 0:1000000", "    Rgate({a}) | 0", COUNT),
    "a million parameters of one array": program(
        "float array A[1000, 1000] =", "    {a}", "Interferometer(A) | 0", COUNT
    ),
    "a hundred thousand parameters": program("Foo(" + ", ".join(f"{{a{n}}}" for n in range(100_000)) + ") | 0", COUNT),
    "a million parameters": program("\n".join("Rgate({a}) | 0" for _ in range(1_000_000)), COUNT),
    # feed-forward
    "a cycle of feed-forward": program("Xgate(q1) | 0", "Xgate(q0) | 1", "MeasureX | 0", "MeasureX | 1"),
    "its own reading": program("Xgate(q0) | 0", "MeasureX | 0"),
    "a formula that doubles": program(
        "MeasureX | 0",
        "float a0 = q0",
        *[f"float a{n + 1} = a{n} + a{n}" for n in range(40)],
        "Xgate(a40) | 1",
        "MeasureX | 1",
    ),
    # post-selection
    "a count that no integer holds": program("MeasureFock(select=[9223372036854775808]) | 0"),
    "more photons than are counted": program(f"MeasureFock(select=[{HUGE}]) | 0"),
    "a quadrature out of reach": program("MeasureHomodyne(0.0, select=1e300) | 0", "MeasureX | 1"),
    "no number of photons": program("MeasureFock(select=[-1]) | 0"),
    # time domain
    "a billion copies": stream("Vac | 0", COUNT, options="temporal_modes=3, copies=1000000000"),
    "a billion time bins": stream("Sgate(0.1) | 1", COUNT, options="temporal_modes=1000000000"),
    "a billion readings": stream("Sgate(0.1) | 1", "MeasureX | 0", options="temporal_modes=1000000000"),
    "time bins beyond integers": stream("Sgate(0.1) | 1", COUNT, options=f"temporal_modes={HUGE}"),
    "a band of a billion registers": stream("Sgate(0.1) | 1", COUNT, options="temporal_modes=3, N=[1000000000]"),
    "ten thousand bands": stream("Vac | 0", COUNT, options=f"temporal_modes=3, N=[{', '.join(['1'] * 10_000)}]"),
    # modes, operations, shots
    "the last mode of an integer": program(f"MeasureX | {HUGE}"),
    "a mode beyond integers": program("MeasureX | 9223372036854775808"),
    "a loop over all integers": program(f"for int m in 0:{HUGE}", "    MeasureX | m"),
    "a million operations in a loop": program("for int m in 0:1000000", "    Rgate(0.1) | 0", COUNT),
    "a million operations": program("Vac | 0\n" * 1_000_000, COUNT),
    "more shots than integers": program(COUNT, shots=HUGE),
    "all shots of all modes": program(f"MeasureFock() | {list(range(216))}", shots=10_000_000),
    # numbers that overflow
    "an infinite temperature": program("Thermal(1e308) | 0", COUNT),
    "an infinite displacement": program("Dgate(1e308, 0.0) | 0", COUNT),
    "an infinite shear": program("Pgate(1e308) | 0", COUNT),
    "an infinite shear, step by step": program("Pgate(1e4) | 0\nPgate(1e4) | 0\nFouriergate() | 0\n" * 100, COUNT),
    "an infinite matrix": program(
        "float array U[2, 2] =", "    1e308, 1e308", "    1e308, -1e308", "Interferometer(U) | [0, 1]", COUNT
    ),
    "an infinite covariance": program(
        "float array V[2, 2] =", "    1e308, 0", "    0, 1e308", "Gaussian(V) | 0", COUNT
    ),
    "an infinite graph": program(
        "float array A[2, 2] =", "    1e308, 1e308", "    1e308, 1e308", "GraphEmbed(A, 1e308) | [0, 1]", COUNT
    ),
    "infinite noise": program("ThermalLossChannel(0.0, 1e308) | 0", COUNT),
    "dark counts without end": program("MeasureFock(dark_counts=[1e308]) | 0"),
}


@pytest.mark.parametrize("name", SUBMISSIONS)
async def test_it_is_refused_in_little_memory(client: httpx.AsyncClient, name: str) -> None:
    content = {"circuit": SUBMISSIONS[name]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracemalloc.start()
        try:
            response = await client.post("/jobs", json=content)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert response.status_code in {400, 409, 413}, response.text
    assert len(response.content) < 2000
    assert peak < LIMIT_BYTES
