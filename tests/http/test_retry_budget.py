"""The retries left to a connection, counted."""

from __future__ import annotations

from sfjobs._http.retry import BUDGET_PER_SUCCESS, RetryBudget


def spent(budget: RetryBudget) -> int:
    """Spend all that is left."""
    count = 0
    while budget.spend():
        count += 1
    return count


def test_a_budget_is_spent_to_the_last_whole_retry() -> None:
    assert spent(RetryBudget(3)) == 3
    assert spent(RetryBudget(3.5)) == 3


def test_a_call_that_succeeds_gives_back_its_retries_and_a_little_more() -> None:
    budget = RetryBudget(5)
    assert spent(budget) == 5
    budget.earn(4)
    assert spent(budget) == 3
    for _ in range(round(2 / BUDGET_PER_SUCCESS)):
        budget.earn(1)
    assert spent(budget) in (2, 3)  # the remainder of the call before


def test_a_budget_never_exceeds_its_size() -> None:
    budget = RetryBudget(5)
    for attempts in (1, 2, 100):
        budget.earn(attempts)
    assert spent(budget) == 5
