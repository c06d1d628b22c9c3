"""Turns are fair to all accounts, by the seconds that they use."""

from __future__ import annotations

from collections import Counter

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfjobs.platform.errors import ApiError
from sfjobs.platform.jobs.fair_turns import FairTurns


async def use(turns: FairTurns, account: str, seconds: float, log: list[tuple[str, float]], extra: float = 0.0) -> None:
    async with turns.turn(account) as turn:
        log.append((account, anyio.current_time()))
        await anyio.sleep(seconds)
        turn.extra_seconds = extra


async def test_a_newcomer_waits_for_one_turn_of_a_busy_account() -> None:
    turns, log = FairTurns(1), list[tuple[str, float]]()
    start = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        for _ in range(60):
            tasks.start_soon(use, turns, "busy", 0.5, log)
        await anyio.sleep(10.2)
        tasks.start_soon(use, turns, "new", 0.1, log)
    assert dict(log)["new"] - start <= 10.5 + 1e-6
    assert len(log) == 61


async def test_turns_are_shared_by_seconds_and_not_by_number() -> None:
    turns, log = FairTurns(1), list[tuple[str, float]]()
    async with anyio.create_task_group() as tasks:
        for _ in range(90):
            tasks.start_soon(use, turns, "long", 1.0, log)
            tasks.start_soon(use, turns, "short", 0.1, log)
        await anyio.sleep(16.0)
        tasks.cancel_scope.cancel()
    counts = Counter(account for account, _ in log)
    assert counts["long"] * 1.0 == pytest.approx(counts["short"] * 0.1, abs=1.1)


async def test_one_account_may_use_all_turns_until_another_comes() -> None:
    turns, log = FairTurns(2), list[tuple[str, float]]()
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(use, turns, "busy", 1.0, log)
        await anyio.sleep(1.5)
        for _ in range(5):
            tasks.start_soon(use, turns, "new", 1.0, log)
    assert [account for account, _ in log][:4] == ["busy"] * 4
    for first in range(4, 12, 2):
        assert sorted(account for account, _ in log[first : first + 2]) == ["busy", "new"]


async def test_what_an_ended_process_costs_is_charged_to_the_account_that_ended_it() -> None:
    turns, log = FairTurns(1), list[tuple[str, float]]()
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(use, turns, "kills", 0.1, log, 1.0)
            tasks.start_soon(use, turns, "fair", 0.1, log)
    assert Counter(account for account, _ in log[:18])["kills"] <= 2


async def test_an_account_has_no_credit_for_the_time_in_which_it_did_nothing() -> None:
    turns, log = FairTurns(1), list[tuple[str, float]]()
    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(use, turns, "early", 1.0, log)
        await anyio.sleep(50.5)
        for _ in range(100):
            tasks.start_soon(use, turns, "late", 1.0, log)
    assert Counter(account for account, _ in log[51:61]) == {"early": 5, "late": 5}


async def test_too_many_that_wait_are_asked_to_come_back() -> None:
    turns, log = FairTurns(1, most_waiting=2, most_waiting_in_all=3), list[tuple[str, float]]()
    answers: list[tuple[str, int, str]] = []

    async def attempt(account: str) -> None:
        try:
            await use(turns, account, 1.0, log)
        except ApiError as error:
            answers.append((account, error.status_code, (error.headers or {})["retry-after"]))

    async with anyio.create_task_group() as tasks:
        for account in ("a", "a", "a", "a", "b", "b", "c"):
            tasks.start_soon(attempt, account)
            await anyio.sleep(0.001)
    assert answers == [("a", 429, "2"), ("b", 503, "5"), ("c", 503, "5")]
    assert turns.waiting == 0


@given(st.data())
async def test_a_turn_is_never_lost_whatever_is_cancelled(data: st.DataObject) -> None:
    turns = FairTurns(data.draw(st.integers(1, 3)))
    log: list[tuple[str, float]] = []

    async def one(account: str, after: float, seconds: float, give_up: float) -> None:
        await anyio.sleep(after)
        with anyio.move_on_after(give_up):
            await use(turns, account, seconds, log)

    numbers = st.integers(0, 4).map(float)
    steps = data.draw(st.lists(st.tuples(st.sampled_from("abc"), numbers, numbers, numbers), max_size=12))
    async with anyio.create_task_group() as tasks:
        for step in steps:
            tasks.start_soon(one, *step)
    log.clear()
    with anyio.fail_after(1):
        await use(turns, "last", 0.0, log)
    assert log
    assert turns.waiting == 0
