"""The left side of the migration table: each call of the real clients runs against the embedded platform."""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest

from sfjobs.platform import Platform
from tests.support.paths import ROOT

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what packages of 2022 say at import of those of today
    sf = pytest.importorskip("strawberryfields", reason="strawberryfields is not installed: run `nox -s interop`")
    xcc = pytest.importorskip("xcc", reason="xcc is not installed: run `nox -s interop`")

pytestmark = [
    pytest.mark.interop,
    pytest.mark.real_time,
    pytest.mark.filterwarnings("ignore::ResourceWarning:requests"),
]

GUIDE = (ROOT / "examples" / "guides" / "coming-from-strawberry-fields.md").read_text(encoding="utf-8")
TABLE = GUIDE.partition("| `xcc` (Strawberry Fields from 0.20) | sfjobs |\n")[2].partition("\n\n")[0]
CALLS = [code for row in TABLE.splitlines() for code in re.findall(r"`([^`]+)`", row.split(" | ")[0])]

CIRCUIT = """name demo
version 1.0
target {target} (shots=10)

Sgate(0.5) | 0
MeasureFock() | [0, 1]
"""


@pytest.fixture
def connection(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("XANADU_CLOUD_REFRESH_TOKEN", platform.api_key)
    monkeypatch.setenv("XANADU_CLOUD_HOST", platform.host)
    monkeypatch.setenv("XANADU_CLOUD_PORT", str(platform.port))
    monkeypatch.setenv("XANADU_CLOUD_TLS", "False")
    monkeypatch.setattr(sf.RemoteEngine, "POLLING_INTERVAL_SECONDS", 0.05)
    return xcc.Connection.load()


def test_the_table_is_found() -> None:
    assert len(CALLS) > 10


@pytest.mark.parametrize("call", CALLS)
def test_a_call_of_the_table_runs(call: str, connection: Any) -> None:
    target = "never" if "cancel" in call else "simulon_gaussian"
    circuit = CIRCUIT.format(target=target)
    job = xcc.Job.submit(connection, name="demo", target=target, circuit=circuit, language="blackbird:1.0")
    if target != "never":
        job.wait(delay=0.05)
    program = sf.Program(8)
    with program.context as q:
        sf.ops.S2gate(1.0) | (q[0], q[4])
        sf.ops.MeasureFock() | q
    names = {"n": "demo", "t": target, "c": circuit, "l": "blackbird:1.0", "id": job.id, "job": job}
    eval(call, {"sf": sf, "xcc": xcc, "connection": connection, "program": program, **names})
