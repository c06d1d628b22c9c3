"""Submission of the programs of a group that are not sent yet, through the same pipeline as ``create_jobs``."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial

from .._jobs.job import job_from
from .._journal import GroupTable
from .._submission.pipeline import SubmissionPipeline
from .._submission.submitter import SubmissionRequest
from .._submission.types import End, Refusal
from .connection import Connection, internals

PROGRAMS_PER_READ = 500
"""Programs that are read from the journal together: a group may be larger than the memory."""


async def send(table: GroupTable, connection: Connection, window: int | None, refusals: dict[str, Exception]) -> int:
    """
    Send the programs that no other process is about to send; return how many others are about to send. ``refusals`` collects the
    errors of single programs, by key.

    The outcome of each is in the journal. When this is cancelled, or raises an error that every submission would meet, the
    rest is left to other processes.
    """
    claimed, left_to_others = await table.claim()
    requests: dict[str, SubmissionRequest] = {}
    try:
        if claimed:
            refusals.update(await _send(table, connection, claimed, window, requests))
    finally:
        table.release([key for key in claimed if key not in requests or not requests[key].is_journaled])
    return left_to_others


async def _send(
    table: GroupTable,
    connection: Connection,
    keys: Sequence[str],
    window: int | None,
    requests: dict[str, SubmissionRequest],
) -> dict[str, Exception]:
    """
    Send the submissions with these keys, and return the errors of single ones. ``requests`` collects those that have been read
    from the journal.
    """
    new_job = partial(job_from, connection=connection)
    pipeline = SubmissionPipeline(internals(connection), new_job, "", None, len(keys) if window is None else window)
    unread, ready = deque(keys), deque[SubmissionRequest]()
    order: list[str] = []  # the keys of the requests that were put

    async def pull(most: int) -> bool:
        if not ready and unread:
            batch = [unread.popleft() for _ in range(min(PROGRAMS_PER_READ, len(unread)))]
            for intent in await table.intents(batch):
                request = SubmissionRequest(intent)
                requests[intent.key] = request
                ready.append(request)
        if not ready:
            pipeline.put(End())
            return False
        for _ in range(min(most, len(ready))):
            order.append(ready[0].intent.key)
            pipeline.put(ready.popleft())
        return True

    refusals: dict[str, Exception] = {}
    while not pipeline.is_done:
        if pipeline.is_ready:
            outcome = pipeline.pop()
            if isinstance(outcome, Refusal):
                refusals[order[outcome.index]] = outcome.error
        else:
            await pipeline.advance(pull)
    return refusals
