"""
How much each account has used the slots. The scheduler starts next a job of the account with the least use, so that an
account with ten thousand jobs delays another's first job by about the time of one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Self

HALF_LIFE_SECONDS: Final = 3600.0
"""After this time a use counts half. An account that had a slot for a night has used about 1.4 half-lives of it."""

_FIRST_EXPECTED_SECONDS: Final = 1.0
_WEIGHT_OF_NEWEST: Final = 0.3


class FairShare:
    """
    The decayed use of each account, in seconds of one slot.

    A running job counts from its start with the time that it is expected to take, as earlier jobs of the account on the same
    target took. Otherwise the account with the least use would get every slot that is free at the same moment.

    ``clock`` returns seconds. ``uses`` are earlier uses, by account, as of now.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        half_life: float = HALF_LIFE_SECONDS,
        uses: Mapping[str, float] | None = None,
    ) -> None:
        self._clock = clock
        self._half_life = half_life
        self._uses = {account: (use, clock()) for account, use in (uses or {}).items()}  # with the time that it is of
        self._running: dict[str, dict[str, tuple[str, float]]] = {}  # by account and job: target and start
        self._expected: dict[tuple[str, str], float] = {}  # seconds, by account and target

    @classmethod
    def of_ended_jobs(cls, clock: Callable[[], float], seconds: Iterable[tuple[str, float, float]]) -> Self:
        """Count the jobs of an earlier run of the platform: account, age in seconds and seconds in a slot."""
        uses: dict[str, float] = {}
        for account, age, used in seconds:
            uses[account] = uses.get(account, 0.0) + max(0.0, used) * math.exp2(-max(0.0, age) / HALF_LIFE_SECONDS)
        return cls(clock, uses=uses)

    def start(self, account: str, job_id: str, target: str) -> None:
        """A job of the account has taken a slot."""
        self._running.setdefault(account, {})[job_id] = (target, self._clock())

    def end(self, account: str, job_id: str, *, is_charged: bool = True) -> float:
        """
        The job has left its slot. Return the account's use after it. Not charged is what was the platform's fault.
        """
        now = self._clock()
        jobs = self._running[account]
        target, start = jobs.pop(job_id)
        if not jobs:
            del self._running[account]
        use = self._past(account, now)
        if is_charged:
            seconds = max(0.0, now - start)
            expected = self._expected.get((account, target), seconds)
            self._expected[account, target] = expected + _WEIGHT_OF_NEWEST * (seconds - expected)
            use += self._decayed_span(seconds)
        self._uses[account] = (use, now)
        return use

    def use(self, account: str) -> float:
        """Return the account's use, with that of its running jobs."""
        now = self._clock()
        spans = (
            max(now - start, self._expected.get((account, target), _FIRST_EXPECTED_SECONDS))
            for target, start in self._running.get(account, {}).values()
        )
        return self._past(account, now) + sum(self._decayed_span(span) for span in spans)

    def count_running(self, account: str) -> int:
        """Return how many jobs of the account have a slot."""
        return len(self._running.get(account, ()))

    def _past(self, account: str, now: float) -> float:
        use, then = self._uses.get(account, (0.0, now))
        return use * math.exp2(-max(0.0, now - then) / self._half_life)

    def _decayed_span(self, seconds: float) -> float:
        """Return the use that is left now of a slot that was used for the last ``seconds``."""
        rate = math.log(2.0) / self._half_life
        return -math.expm1(-rate * seconds) / rate
