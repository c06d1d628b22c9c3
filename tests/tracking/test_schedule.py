"""The queue of polls keeps no more outdated entries than jobs."""

from __future__ import annotations

from sfjobs._tracking.schedule import PollQueue
from sfjobs._tracking.types import TrackedJob


def test_outdated_entries_are_discarded_once_they_are_the_most() -> None:
    queue = PollQueue()
    jobs = [TrackedJob(job_id=str(number), first_seen=0.0, due=300.0) for number in range(1000)]
    for job in jobs:
        queue.put(job, job.due)
    for left in range(999, -1, -1):
        jobs[left].queue_entry = None
        queue.discard_outdated(left)
        assert len(queue._heap) <= 2 * left + 64
