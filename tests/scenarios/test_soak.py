"""A small soak, to the end, and what the verdict of a large one would find."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from sfjobs.platform.execution.executor import Work
from sfjobs.platform.program import ProgramError
from tests.soak import verdict
from tests.soak.census import Growth, Sample, growth
from tests.soak.ledger import Line
from tests.soak.plan import rounds
from tests.soak.programs import Program, run

FAILING = next(number for number in range(10_000) if Program(number).kind == "failing")
COMPLETING = [number for number in range(100) if Program(number).kind == "usual"]


def line(number: int, **changes: object) -> Line:
    program = Program(number)
    right = True if program.status == "complete" else None
    return replace(Line(number, f"job-{number}", program.status, False, right), **changes)


def platform_of(*lines: Line) -> dict[str, tuple[str | None, str]]:
    return {one.job_id: (Program(one.number).name, one.status) for one in lines}


def test_what_is_as_it_should_be_is_no_problem() -> None:
    lines = [line(number) for number in range(50)]
    assert verdict.of_jobs(50, lines, platform_of(*lines)) == []


GOOD = [line(number) for number in range(5)]


@pytest.mark.parametrize(
    ("lines", "jobs", "words"),
    [
        (GOOD[:-1], platform_of(*GOOD), "job of the platform job-4: missing"),
        ([*GOOD, GOOD[0]], platform_of(*GOOD), "program 0: 2 times"),
        ([*GOOD[:-1], replace(GOOD[4], job_id="job-0")], platform_of(*GOOD), "job of the platform job-0: 2 times"),
        (GOOD, platform_of(*GOOD) | {"job-5": ("soak_4", "complete")}, "name soak_4: 2 times"),
        (GOOD, platform_of(*GOOD[:-1]), "job of the platform job-4: unexpected"),
        (GOOD, platform_of(*GOOD) | {"job-1": ("soak_1", "queued")}, "job job-1 is queued"),
        ([*GOOD[:-1], replace(GOOD[4], result=False)], platform_of(*GOOD), "with a wrong result"),
        ([*GOOD[:-1], replace(GOOD[4], result=None)], platform_of(*GOOD), "with no result"),
    ],
    ids=["unknown", "known twice", "one for two", "made twice", "invented", "not final", "wrong", "lost"],
)
def test_whatever_happened_to_a_job_is_found(
    lines: list[Line], jobs: dict[str, tuple[str | None, str]], words: str
) -> None:
    assert words in "\n".join(verdict.of_jobs(5, lines, jobs))


def test_only_what_was_cancelled_may_be() -> None:
    [number, *_] = COMPLETING
    cancelled = line(number, status="cancelled", result=None)
    assert cancelled.problem is not None
    assert replace(cancelled, cancelled=True).problem is None
    assert replace(line(FAILING), status="complete", result=True).problem is not None


def test_growth_is_between_the_warm_up_and_the_end() -> None:
    samples = [
        Sample(float(at), memory=100 + (at < 60) * 900 + (at > 500) * 11, descriptors=20, threads=3)
        for at in range(600)
    ]
    [memory, *others] = growth("server", samples, warm_up=60, end=600)
    assert (memory.early, memory.late) == (100, 111)
    assert memory.is_more_than(0.10)
    assert not memory.is_more_than(0.12)
    assert [(one.measure, one.share) for one in others] == [("descriptors", 0.0), ("threads", 0.0)]
    assert len(verdict.of_growth([memory, *others], 0.10)) == 1


def test_a_few_descriptors_more_are_no_leak() -> None:
    assert not Growth("client", "descriptors", 20, 30).is_more_than(0.1)
    assert Growth("client", "descriptors", 20, 33).is_more_than(0.1)


def test_every_program_is_played_once_and_in_time() -> None:
    played = rounds(3, first=600, count=200, seconds=600, seed=1)
    assert [program.number for one in played for program in one.programs] == list(range(600, 800))
    assert [one.at for one in played] == sorted(one.at for one in played)
    assert 0 <= played[0].at < 600 / 5
    assert played[-1].at < 600
    assert played == rounds(3, first=600, count=200, seconds=600, seed=1)


def test_a_result_is_that_of_its_program_alone() -> None:
    one, other = (Program(number) for number in COMPLETING[:2])
    work = Work(job_id="a", attempt=1, target="simulon_gaussian", circuit=one.text, shots=one.shots, seed=1)
    assert one.has_measured(run(work).array)
    assert not other.has_measured(run(work).array)
    with pytest.raises(ProgramError):
        run(replace(work, circuit=Program(FAILING).text))


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_small_soak_comes_to_a_good_end() -> None:
    """Growth is not judged here: a process of a few seconds has come neither to its memory nor to its threads."""
    course = ["--minutes", "0.15", "--jobs", "300", "--clients", "5", "--growth", "100"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SFJOBS_")}
    command = [sys.executable, "-m", "tests.soak", *course]
    soak = subprocess.run(command, capture_output=True, check=False, text=True, timeout=110, env=environment)
    assert soak.returncode == 0, soak.stdout + soak.stderr
    assert "all jobs accounted for" in soak.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="fills the disk of another process")
def test_a_small_lab_comes_to_a_good_end() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SFJOBS_")}
    command = [sys.executable, "-m", "tests.soak.lab", "--jobs", "400", "--accounts", "8", "--kill-every", "1"]
    lab = subprocess.run(command, capture_output=True, check=False, text=True, timeout=110, env=environment)
    assert lab.returncode == 0, lab.stdout + lab.stderr
    assert "all jobs complete, once, and fair" in lab.stdout
