"""
A heap of tracked jobs by the time of their next poll. No clock and no I/O.

An entry that is out of date, because its job was rescheduled or removed, is skipped when it reaches the top; no entry is searched
for. So the cost of a sweep depends on the jobs that it polls, not on the jobs that are tracked.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable

from .types import TrackedJob

_MIN_OUTDATED = 64


class PollQueue:
    """
    The jobs that wait for their next poll. A job whose ``queue_entry`` is None is not in it: it was popped, or skipped because no
    waiter waits for it.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, TrackedJob]] = []
        self._numbers = itertools.count(1)

    def put(self, job: TrackedJob, due: float) -> None:
        """Poll ``job`` at ``due``, instead of any time set before."""
        heapq.heappush(self._heap, self._entry(job, due))

    def put_all(self, jobs: Iterable[TrackedJob]) -> None:
        """Poll each of very many jobs when it is ``due``."""
        self._heap += [self._entry(job, job.due) for job in jobs]
        # Without this the outdated entries would pile up with each change of the whole queue.
        self._heap = [item for item in self._heap if item[2].queue_entry == item[1]]
        heapq.heapify(self._heap)

    def discard_outdated(self, jobs: int) -> None:
        """Discard the outdated entries if there are more of them than of ``jobs``, the number of tracked jobs."""
        if len(self._heap) > 2 * jobs + _MIN_OUTDATED:
            self._heap = [item for item in self._heap if item[2].queue_entry == item[1]]
            heapq.heapify(self._heap)

    def next_due(self) -> float:
        """Return the time of the next poll, infinity when the queue is empty."""
        self._skip_outdated()
        return self._heap[0][0] if self._heap else float("inf")

    def pop_batch(self, until: float, limit: int) -> list[TrackedJob]:
        """
        Pop up to ``limit`` jobs that are due before ``until``, filled up with the jobs that are due next, unless the change feed
        covers them. Empty when no job is due.
        """
        batch: list[TrackedJob] = []
        while len(batch) < limit and (self.next_due() < until or (batch and self._is_next_uncovered())):
            job = heapq.heappop(self._heap)[2]
            job.queue_entry = None
            batch.append(job)
        return batch

    def has_more_due(self, until: float, than: int) -> bool:
        """Return whether more than ``than`` entries, outdated ones included, are due before ``until``."""
        found, indices = 0, [0]
        while indices and found <= than:  # the children of an entry are due after it
            index = indices.pop()
            if index < len(self._heap) and self._heap[index][0] < until:
                found += 1
                indices += (2 * index + 1, 2 * index + 2)
        return found > than

    def _is_next_uncovered(self) -> bool:
        return bool(self._heap) and not self._heap[0][2].is_covered

    def _entry(self, job: TrackedJob, due: float) -> tuple[float, int, TrackedJob]:
        job.due = due
        job.queue_entry = next(self._numbers)
        return due, job.queue_entry, job

    def _skip_outdated(self) -> None:
        while self._heap:
            _, entry, job = self._heap[0]
            if job.queue_entry == entry and job.is_wanted:
                return
            heapq.heappop(self._heap)
            if job.queue_entry == entry:
                job.queue_entry = None
                for waiter in job.waiters:
                    waiter.unqueued.append(job)
