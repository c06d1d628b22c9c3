"""
How many jobs may be unfinished at a time. No I/O and no clock: ``pipeline`` waits.

A 429 halves the window, and each accepted job widens it again, as in TCP (RFC 5681, additive increase and multiplicative
decrease). A 429 for a quota says more: the platform accepts as many as are unfinished then, so the window is just as wide, and
the end of a job is the time to submit the next. From time to time one more is tried, since a quota may change or be shared.
"""

from __future__ import annotations

WIDENING_PER_JOB = 0.25
"""How much a narrowed window grows with each job that the platform accepts."""

FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 30.0
"""The pause after a 429 without Retry-After. Each pause is twice as long as the one before."""

PROBE_SECONDS = 0.5
"""After a job beyond the quota was accepted: perhaps only because another had ended, which the next poll shows."""

MAX_CONCURRENCY = 1024
"""No bound: of requests in flight when a quota is met, all are refused. After that they are one, two, four and so on."""


class Window:
    """
    ``size`` is the present bound and ``widest`` the initial one. ``generation`` counts how often the window was narrowed: a
    response to a request of an older generation changes nothing. Nothing is submitted before ``paused_until``. With a quota, more
    jobs than that are tried from ``probe_at`` on. ``concurrency`` bounds the requests of a step.
    """

    def __init__(self, widest: int) -> None:
        if widest < 1:
            raise ValueError(f"a window of {widest} submits nothing: it has to be at least 1")
        self.widest = widest
        self.generation = 0
        self.paused_until = float("-inf")
        self.probe_at = float("inf")
        self._size = float(widest)
        self._refusals = 0
        self.concurrency = MAX_CONCURRENCY
        self._quota: int | None = None
        self._step = 1
        self._successes = 0  # probes in a row that were accepted

    @property
    def size(self) -> int:
        return int(self._size)

    @property
    def is_narrowed(self) -> bool:
        return self._size < self.widest

    def narrow(self, generation: int, now: float, retry_after: float | None) -> float:
        """Halve the window, once a generation. Returns the seconds to pause from ``now``, at least ``retry_after``."""
        if generation == self.generation:
            pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(self._refusals, 10), MAX_PAUSE_SECONDS)
            self.generation += 1
            self._refusals += 1
            self._size = float(max(1, self.size // 2))
            self.paused_until = now + pause
        if retry_after is not None:
            self.paused_until = max(self.paused_until, now + retry_after)
        return max(self.paused_until - now, 0.0)

    def widen(self, generation: int, jobs: int = 1) -> None:
        """Widen the window for ``jobs`` accepted jobs that were sent in this generation."""
        if generation == self.generation and self._quota is None:
            self._refusals = 0
            self._size = min(self._size + WIDENING_PER_JOB * jobs, float(self.widest))

    def meet_quota(self, unfinished: int, now: float, retry_after: float | None) -> None:
        """A step met a quota, while so many jobs were unfinished. With none of ours, only time can help."""
        self.generation += 1
        # Before the first one, many of the jobs may have ended unnoticed.
        self._quota = min(unfinished, max(self.size // 2, 1)) if self._quota is None else unfinished
        self._step, self._successes, self.concurrency = 1, 0, 1
        self._size = float(min(max(self._quota, 1), self.widest))
        pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(self._refusals, 10), MAX_PAUSE_SECONDS)
        self._refusals += 1
        self.probe_at = now + max(pause, retry_after or 0.0)
        if not unfinished:
            self.paused_until = self.probe_at

    def note_accepted(self, unfinished: int, now: float) -> None:
        """
        A step met no quota, and so many jobs are unfinished after it. Where they are more than the quota, it is larger, or one of
        them had ended, which the next poll shows: so the window is widened further only after some time.
        """
        self.concurrency = min(2 * self.concurrency, MAX_CONCURRENCY)
        if self._quota is None or unfinished <= self._quota:
            return
        self._quota, self.probe_at = unfinished, now + PROBE_SECONDS
        self._size = float(min(unfinished, self.widest))
        self._successes += 1
        if self._successes > 1:
            self._step, self._refusals = 2 * self._step, 0
        if unfinished >= self.widest:
            self._quota, self.probe_at = None, float("inf")

    def next_probe(self, unfinished: int) -> float:
        """Return when ``probe`` gives room beside so many unfinished jobs; infinity if jobs have to end before."""
        return self.probe_at if self._quota is not None and unfinished < self._quota + self._step else float("inf")

    def probe(self, now: float) -> None:
        """Widen the window by some jobs if it is time to try whether the quota is larger: by more and more while it is."""
        if self._quota is not None and now >= self.probe_at:
            self._size = float(min(self._quota + self._step, self.widest))
