"""``python -m tests.soak --minutes 10 --jobs 20000 --clients 100``: exit code 0 when all checks pass, 1 otherwise."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from .soak import Course, soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="over which the jobs are spread (default 10)")
    parser.add_argument("--jobs", type=int, default=20_000, help="programs in all (default 20000)")
    parser.add_argument("--clients", type=int, default=100, help="connections in all (default 100)")
    parser.add_argument("--seed", type=int, default=1, help="of faults and plans (default 1)")
    parser.add_argument("--faults", type=float, default=0.04, help="share of requests that meet one (default 0.04)")
    parser.add_argument("--growth", type=float, default=0.10, help="share by which memory may grow (default 0.10)")
    parser.add_argument("--keep", type=Path, help="a folder for logs and ledgers, which are removed otherwise")
    given = parser.parse_args()
    course = Course(
        jobs=given.jobs,
        clients=given.clients,
        seconds=60 * given.minutes,
        seed=given.seed,
        faults=given.faults,
        growth=given.growth,
    )
    with tempfile.TemporaryDirectory(prefix="sfjobs-soak-") as folder:
        problems = soak(course, given.keep or Path(folder))
    for problem in problems:
        print(f"FAILED  {problem}")
    print("verdict:", f"{len(problems)} problems" if problems else "all jobs accounted for, nothing grown")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
