"""Which fault meets which request: selection, counting and order."""

from __future__ import annotations

import pytest

from sfjobs.testing import Fault, Faults

JOBS = ("POST", "/jobs")
TOKEN = ("POST", "/auth/realms/platform/protocol/openid-connect/token")


def kinds(faults: Faults, *requests: tuple[str, str]) -> list[list[str]]:
    return [[fault.kind for fault in faults.for_request(*request)] for request in requests]


def test_a_fault_meets_the_nth_request_and_as_many_as_it_is_told() -> None:
    faults = Faults(Fault.garbage(nth=2, times=2))
    assert kinds(faults, *[JOBS] * 5) == [[], ["garbage"], ["garbage"], [], []]


def test_a_fault_may_last() -> None:
    assert kinds(Faults(Fault.garbage(times=None)), *[JOBS] * 9) == [["garbage"]] * 9


@pytest.mark.parametrize(
    ("fault", "met"),
    [
        (Fault.garbage(times=None), [True, True, True, False]),
        (Fault.garbage(times=None, method="get"), [False, True, True, False]),
        (Fault.garbage(times=None, path="/jobs"), [True, False, False, False]),
        (Fault.garbage(times=None, path="/jobs/*/result"), [False, True, False, False]),
        (Fault.garbage(times=None, path="/jobs/*"), [False, True, True, False]),
        (Fault.garbage(times=None, path="/auth/*"), [False, False, False, True]),
        (Fault.garbage(times=None, path="*"), [True, True, True, True]),
    ],
)
def test_method_and_path_select_and_tokens_are_spared_unless_named(fault: Fault, met: list[bool]) -> None:
    found = kinds(Faults(fault), JOBS, ("GET", "/jobs/1/result"), ("GET", "/jobs/1"), TOKEN)
    assert [bool(kind) for kind in found] == met


def test_one_fault_damages_an_answer_and_others_may_change_it() -> None:
    faults = Faults(Fault.clock_skew(9), Fault.status(503, times=2), Fault.garbage(times=3), Fault.delay(1))
    assert kinds(faults, *[JOBS] * 4) == [["status", "clock skew", "delay"], ["status"], ["garbage"], ["garbage"]]


def test_faults_of_connections_count_connections() -> None:
    faults = Faults(Fault.reset("on connect", nth=2), Fault.garbage())
    assert kinds(faults, JOBS) == [["garbage"]]
    assert faults.for_connection() is None
    fault = faults.for_connection()
    assert fault is not None
    assert fault.kind == "reset on connect"


def test_faults_are_added_counted_and_cleared() -> None:
    faults = Faults()
    faults.add(Fault.garbage(), Fault.status(500))
    kinds(faults, JOBS, JOBS, JOBS)
    assert (faults.applied(), faults.applied("status"), [fault.kind for fault in faults]) == (
        2,
        1,
        ["garbage", "status"],
    )
    faults.clear()
    assert (faults.applied(), list(faults)) == (0, [])


@pytest.mark.parametrize("turns", [{"nth": 0}, {"times": 0}, {"times": -1}])
def test_counts_begin_at_one(turns: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="count from 1"):
        Fault.garbage(**turns)  # type: ignore[arg-type]  # each has one of the two


def test_a_reset_on_connect_knows_no_request() -> None:
    with pytest.raises(ValueError, match="neither method nor path"):
        Fault.reset("on connect", path="/jobs")
