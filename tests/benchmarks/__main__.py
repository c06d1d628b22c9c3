"""
Run the benchmarks of this folder one after another: ``python -m tests.benchmarks [--quick] [--json FILE] [NAME ...]``. Each is a
file ``bench_NAME.py`` whose ``main`` prints a table and returns the measured values.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

NAMES = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))


def machine() -> dict[str, object]:
    """Return the properties of the machine that the numbers depend on and that do not change between two runs."""
    return {
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "system": platform.system(),
        "architecture": platform.machine(),
        "cpus": os.cpu_count(),
    }


def run(name: str) -> object:
    """What the benchmark of this name returns; it prints as it goes."""
    return import_module(f"tests.benchmarks.bench_{name}").main()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measure sfjobs on this machine.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones (default: all): {', '.join(NAMES)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measured values and the machine to FILE")
    parser.add_argument(
        "--quick", action="store_true", help="a rough picture: fewer jobs and fewer rounds, where there is a choice"
    )
    given = parser.parse_args(arguments)
    if given.quick:
        os.environ["BENCH_QUICK"] = "1"  # read when a benchmark is imported
    if unknown := sorted(set(given.names) - set(NAMES)):
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    results: dict[str, object] = {}
    for name in given.names or NAMES:
        print(f"\n== {name}", flush=True)
        results[name] = run(name)
    if given.json is not None:
        given.json.write_text(json.dumps({"machine": machine(), "results": results}, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
