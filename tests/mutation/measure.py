"""Which tests reach which lines, and how long they take: one run of the tests under coverage, a context for each test."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import coverage
import pytest

from tests.mutation.forks import run_in_fork

Reached = dict[str, dict[int, list[str]]]
"""Tests by module and line."""


class _Measuring:
    """A plugin of pytest that gives each test a context, and measures the time of each."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self._measured = measured
        self.seconds: dict[str, float] = defaultdict(float)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._measured.switch_context(item.nodeid)
        yield
        self._measured.switch_context("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration


def measure(
    folder: Path, tests: Sequence[str], modules: Sequence[str], output: Path
) -> tuple[Reached, dict[str, float]]:
    """Return the tests that reach each line of the modules, and each test's seconds, as ``output`` has them if it is there."""
    log = output.with_suffix(".log")
    if not output.exists() and run_in_fork(lambda: _measure(folder, tests, modules, output), folder, log, 3600.0) != 0:
        output.unlink(missing_ok=True)
        raise SystemExit(f"the tests fail without a mutant: see {log}")
    found = json.loads(output.read_text(encoding="utf-8"))
    reached = {module: {int(line): ids for line, ids in lines.items()} for module, lines in found["reached"].items()}
    return reached, found["seconds"]


def _measure(folder: Path, tests: Sequence[str], modules: Sequence[str], output: Path) -> int:
    measured = coverage.Coverage(data_file=None, include=[str(folder / module) for module in modules])
    plugin = _Measuring(measured)
    measured.start()
    code = pytest.main([*PYTEST, *tests, "-k", "not trio"], plugins=[plugin])
    measured.stop()
    data = measured.get_data()
    reached = {
        module: {line: [name for name in names if name] for line, names in lines.items()}
        for module in modules
        if (lines := data.contexts_by_lineno(str(folder / module)))
    }
    output.write_text(json.dumps({"reached": reached, "seconds": plugin.seconds}), encoding="utf-8")
    return int(code)


PYTEST = ("-q", "-p", "no:cacheprovider", "--assert=plain", "-W", "ignore::pytest.PytestAssertRewriteWarning")
