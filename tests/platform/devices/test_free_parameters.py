"""Programs with free parameters are refused by every device, with the names of the parameters."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from sfjobs.platform.blackbird import parse
from sfjobs.platform.devices import build_devices
from sfjobs.platform.program import ProgramError


@pytest.mark.parametrize("target", ["simulon_gaussian", "X8_01"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [("{r}", "the free parameter r has no value"), ("{r}, {phi}", "2 free parameters have no value \\(r, phi\\)")],
)
def test_a_free_parameter_is_refused_with_its_name(target: str, arguments: str, words: str) -> None:
    program = parse(
        f"name a\nversion 1.0\ntarget {target} (shots=5)\n\nS2gate({arguments}) | [0, 4]\nMeasureFock | 0\n"
    )
    with pytest.raises(ProgramError, match=words) as refusal:
        build_devices()[target].check(program)
    assert refusal.value.code == "unsupported-circuit"


@pytest.mark.parametrize("separator", [") | 0\nRgate(", "; ", ", "])
def test_a_template_with_a_million_parameters_is_refused_fast(separator: str) -> None:
    names = separator.join(f"{{p{index}}}" for index in range(1_000_000))
    text = f"name a\nversion 1.0\ntarget simulon_gaussian (shots=5)\n\nRgate({names}) | 0\n"
    started = time.process_time()
    with pytest.raises(ProgramError):
        parse(text)
    assert time.process_time() - started < 1
    tracemalloc.start()
    try:
        with pytest.raises(ProgramError):
            parse(text)
        assert tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()
