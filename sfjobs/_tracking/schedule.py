"""
Which job is to be asked about next: a heap of watches by the time they are due. Pure bookkeeping, no clock and no I/O.

Entries are never searched for: one that is out of date, because its watch was put off or dropped, is passed over when it
comes up. So a sweep costs by what it asks about, not by what is watched.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable

from .types import TrackedJob


class PollQueue:
    """The watches that wait for their question. One that is taken out must be put back with a new time, or dropped."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, TrackedJob]] = []
        self._numbers = itertools.count(1)

    def put(self, watch: TrackedJob, due: float) -> None:
        """Asks about ``watch`` at ``due``, and not at any time it was put down for before."""
        heapq.heappush(self._heap, self._entry(watch, due))

    def put_all(self, dues: Iterable[tuple[TrackedJob, float]]) -> None:
        """The same for very many at once."""
        self._heap += [self._entry(watch, due) for watch, due in dues]
        # Those that are out of date would otherwise pile up with each change of the whole agenda.
        self._heap = [item for item in self._heap if item[2].entry == item[1]]
        heapq.heapify(self._heap)

    def drop(self, watch: TrackedJob) -> None:
        """Never asks about ``watch``."""
        watch.entry = None

    def resume(self, watch: TrackedJob) -> None:
        """Takes up again a watch that ``next_due`` or ``take`` passed over because nobody was waiting."""
        if watch.entry is None:
            self.put(watch, watch.due)

    def next_due(self) -> float:
        """When the next question is due; infinity when there is none to ask."""
        self._pass_over()
        return self._heap[0][0] if self._heap else float("inf")

    def take(self, until: float, batch: int) -> list[TrackedJob]:
        """
        Up to ``batch`` watches that are due before ``until``, filled up with what is due next, unless the change feed tells of
        it. None at all when nothing is due.
        """
        taken: list[TrackedJob] = []
        while len(taken) < batch and (self.next_due() < until or (taken and self._may_go_along())):
            watch = heapq.heappop(self._heap)[2]
            watch.entry = None
            taken.append(watch)
        return taken

    def is_more_due(self, until: float, than: int) -> bool:
        """Whether more than so many entries are due before ``until``, some of which may be out of date."""
        found, places = 0, [0]
        while places and found <= than:  # the children of an entry are due after it
            place = places.pop()
            if place < len(self._heap) and self._heap[place][0] < until:
                found += 1
                places += (2 * place + 1, 2 * place + 2)
        return found > than

    def _may_go_along(self) -> bool:
        return bool(self._heap) and not self._heap[0][2].is_covered

    def _entry(self, watch: TrackedJob, due: float) -> tuple[float, int, TrackedJob]:
        watch.due = due
        watch.entry = next(self._numbers)
        return due, watch.entry, watch

    def _pass_over(self) -> None:
        while self._heap:
            _, entry, watch = self._heap[0]
            if watch.entry == entry and watch.is_wanted:
                return
            heapq.heappop(self._heap)
            if watch.entry == entry:
                watch.entry = None
                for waiter in watch.waiters:
                    waiter.passed_over.append(watch)
