"""
Mutation testing of some modules, in a copy of the project. It is no part of CI. What survives is read by a person: many mutants
change only a cost, or nothing. Arguments: modules, and

    --sample N        at most N mutants of each module, chosen with --seed
    --seconds S       tests for each mutant: those that reach its line, the quickest first, up to so many seconds
    --output FILE     where the results are written, one JSON object a line
    --measured FILE   where it is kept which tests reach which line, so that the next run need not find out
    --again FILE      only the mutants that survived an earlier run
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.mutation.forks import TIMED_OUT, preload, run_in_fork
from tests.mutation.measure import PYTEST, Reached, measure
from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.plan import tests_of
from tests.support.paths import ROOT

NUMBERS = itertools.count(1_000_000_000)


@dataclass(frozen=True)
class Choice:
    """What is run for each mutant."""

    sample: int
    seconds: float
    seed: int


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="+")
    parser.add_argument("--sample", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=None)
    parser.add_argument("--measured", type=Path, default=None)
    parser.add_argument("--again", type=Path, default=None)
    options = parser.parse_args()
    choice = Choice(options.sample, options.seconds, options.seed)
    again = _survivors(options.again) if options.again else None
    with tempfile.TemporaryDirectory(prefix="mutation-") as name:
        folder = Path(name) / "project"
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".git", ".nox", "__pycache__", ".*_cache"))
        preload()
        for tests, modules in itertools.groupby(options.modules, tests_of):
            for line in _run_modules(folder, tests, list(modules), choice, again, options.measured):
                if line["outcome"] in ("survived", "not reached"):
                    print(f"{line['module']}:{line['line']} {line['outcome']}\n{line['change']}", flush=True)
                if options.output:
                    with options.output.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(line) + "\n")


def _survivors(path: Path) -> set[tuple[str, str]]:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {(line["module"], line["change"]) for line in lines if line["outcome"] == "survived"}


def _run_modules(
    folder: Path,
    tests: Sequence[str],
    modules: list[str],
    choice: Choice,
    again: set[tuple[str, str]] | None,
    measured: Path | None,
) -> Iterator[dict[str, object]]:
    file = measured or folder.parent / "measured.json"
    digest = hashlib.sha256("\n".join(tests).encode()).hexdigest()[
        :8
    ]  # modules with other tests have a file of their own
    reached, seconds = measure(folder, tests, modules, file.with_stem(f"{file.stem}-{digest}"))
    for module in modules:
        mutants = mutants_of(folder / module)
        if again is not None:
            mutants = [mutant for mutant in mutants if (module, mutant.change) in again]
        elif len(mutants) > choice.sample:
            mutants = random.Random(choice.seed).sample(mutants, choice.sample)
        counts = dict.fromkeys(("killed", "timed out", "survived", "not reached"), 0)
        for mutant in mutants:
            chosen = _tests_for(module, mutant, reached, seconds, choice)
            outcome = _outcome(folder, module, mutant, chosen, sum(seconds[test] for test in chosen))
            counts[outcome] += 1
            yield {
                "module": module,
                "line": mutant.line,
                "change": mutant.change,
                "outcome": outcome,
                "tests": len(chosen),
            }
        print(module, counts, flush=True)


def _tests_for(module: str, mutant: Mutant, reached: Reached, seconds: dict[str, float], choice: Choice) -> list[str]:
    """The tests that reach the line, those of asyncio first, the quickest first."""
    known = reached.get(module, {})
    found = sorted(
        {*known.get(mutant.line, ()), *known.get(mutant.statement, ())},
        key=lambda test: ("trio" in test, seconds[test]),
    )
    total = itertools.accumulate(seconds[test] for test in found)
    return [test for test, until in zip(found, total, strict=True) if until <= choice.seconds] or found[:1]


def _outcome(folder: Path, module: str, mutant: Mutant, tests: list[str], seconds: float) -> str:
    if not tests:
        return "not reached"
    path = folder / module
    before = path.read_text(encoding="utf-8"), path.stat().st_mtime
    path.write_text(mutant.source, encoding="utf-8")
    number = next(NUMBERS)  # a time of its own, so that no compiled file of another mutant fits
    os.utime(path, (number, number))
    timeout = 15.0 + 4 * seconds
    try:
        call = [*PYTEST, "-x", f"--timeout={timeout / 2:.0f}", *tests]
        code = run_in_fork(lambda: int(pytest.main(call)), folder, folder.parent / "mutant.log", timeout)
    finally:
        path.write_text(before[0], encoding="utf-8")
        os.utime(path, (before[1], before[1]))
    return "timed out" if code == TIMED_OUT else "killed" if code else "survived"


if __name__ == "__main__":
    main()
