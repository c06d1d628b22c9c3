"""The checks at the end of a soak test; each failure is one line. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from .census import Growth
from .ledger import Line
from .programs import Program

SHOWN = 10


def of_jobs(submitted: int, lines: Sequence[Line], platform: Mapping[str, tuple[str | None, str]]) -> list[str]:
    """
    Check that each of the ``submitted`` programs became one job of one client, which ended as expected, to the client and to the
    platform. ``platform`` has name and status of every job by id, from the platform's list.
    """
    problems = [problem for line in lines if (problem := line.problem) is not None]
    problems += _if_not_one_each("program", range(submitted), [line.number for line in lines])
    problems += _if_not_one_each("job of the platform", platform, [line.job_id for line in lines])
    names = [name for name, _ in platform.values()]
    problems += _if_not_one_each("name", [Program(number).name for number in range(submitted)], names)
    for line in lines:
        name, status = platform.get(line.job_id, (None, "missing"))
        if (name, status) != (Program(line.number).name, line.status):
            seen = f"{line.status} to the client of program {line.number}"
            problems.append(f"job {line.job_id} is {status} with the name {name} to the platform, and {seen}")
    return _shortened(problems)


def of_growth(found: Iterable[Growth], share: float) -> list[str]:
    return [f"grown by more than {share:.0%}: {one}" for one in found if one.is_more_than(share)]


def of_left_over(process: str, left: Mapping[str, int]) -> list[str]:
    return [f"{process}: {count} {what} left at the end" for what, count in left.items() if count > 0]


def of_errors(process: str, errors: str) -> list[str]:
    return [f"{process} wrote to stderr: {errors.strip()[-2000:]}"] if errors.strip() else []


def _if_not_one_each(what: str, wanted: Iterable[object], found: Iterable[object]) -> list[str]:
    counts = Counter(found)
    wanted = set(wanted)
    return [
        *(f"{what} {one}: {counts[one]} times" for one in counts if counts[one] != 1),
        *(f"{what} {one}: missing" for one in wanted - counts.keys()),
        *(f"{what} {one}: unexpected" for one in counts.keys() - wanted),
    ]


def _shortened(problems: list[str]) -> list[str]:
    more = len(problems) - SHOWN
    return problems if more <= 0 else [*problems[:SHOWN], f"and {more} more like these"]
