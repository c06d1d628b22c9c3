"""Submission of the programs of a group that are not sent yet, through the same pipeline as ``create_jobs``."""

from __future__ import annotations

from collections import deque
from functools import partial

from .._jobs.job import job_from
from .._journal import GroupTable
from .._submission.pipeline import SubmissionPipeline
from .._submission.stream import End
from .._submission.submitter import SubmissionRequest
from .connection import Connection, internals

PROGRAMS_PER_READ = 500
"""Programs that are read from the journal together: a group may be larger than the memory."""


async def send(table: GroupTable, connection: Connection, window: int | None) -> int:
    """
    Send the programs that no other process is about to send; return how many others are about to send.

    The outcome of each is in the journal. When this is cancelled, or raises an error that every submission would meet, the
    rest is left to other processes.
    """
    sender = _Sender(table, connection)
    claimed, left_to_others = await table.take()
    try:
        if claimed:
            await sender.send(claimed, window)
    finally:
        table.let_go([key for key in claimed if not sender.is_recorded(key)])
    return left_to_others


class _Sender:
    def __init__(self, table: GroupTable, connection: Connection) -> None:
        self._table = table
        self._connection = connection
        self._keys: deque[str] = deque()
        self._ready: deque[SubmissionRequest] = deque()
        self._requests: dict[str, SubmissionRequest] = {}

    def is_recorded(self, key: str) -> bool:
        """Whether the journal has this submission as one that is being sent, or was sent."""
        return key in self._requests and self._requests[key].is_recorded

    async def send(self, keys: list[str], window: int | None) -> None:
        self._keys.extend(keys)
        width = len(keys) if window is None else window
        new_job = partial(job_from, connection=self._connection)
        pipeline = SubmissionPipeline(internals(self._connection), new_job, "", None, width)

        async def pull(most: int) -> bool:
            await self._read()
            if not self._ready:
                pipeline.put(End())
                return False
            for _ in range(min(most, len(self._ready))):
                pipeline.put(self._ready.popleft())
            return True

        while not pipeline.is_over:
            if pipeline.is_ready:
                pipeline.take()
            else:
                await pipeline.advance(pull)

    async def _read(self) -> None:
        if self._ready or not self._keys:
            return
        keys = [self._keys.popleft() for _ in range(min(PROGRAMS_PER_READ, len(self._keys)))]
        for intent in await self._table.intents(keys):
            request = SubmissionRequest(intent.target, intent.shots, intent.name, intent.key, intent.body)
            self._requests[request.key] = request
            self._ready.append(request)
