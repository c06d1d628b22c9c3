"""How the programs of a group that are yet to be sent become jobs: as those of ``create_jobs`` do, with keys that they have."""

from __future__ import annotations

from collections import deque

from .._journal import GroupTable
from .._submission.pipeline import SubmissionPipeline
from .._submission.submitter import SubmissionRequest
from .._submission.types import End
from .connection import Connection

READ_AT_ONCE = 500
"""Programs that are read for being sent: they are not all held in memory."""


async def send(roll: GroupTable, connection: Connection, window: int | None) -> int:
    """
    Sends what is added and what nobody else is about to send, and says how many somebody else is; what became of each is in the
    journal. Leaves the rest to others when it is cancelled, or raises what lets no submission succeed.
    """
    sending = _Sending(roll, connection)
    taken, left_to_others = await roll.claim()
    try:
        if taken:
            await sending.send(taken, window)
    finally:
        roll.release([key for key in taken if key not in sending.orders or not sending.orders[key].is_journaled])
    return left_to_others


class _Sending:
    """One walk over the keys. ``orders`` are those that have been read."""

    def __init__(self, roll: GroupTable, connection: Connection) -> None:
        self._roll = roll
        self._connection = connection
        self._keys: deque[str] = deque()
        self._ready: deque[SubmissionRequest] = deque()
        self.orders: dict[str, SubmissionRequest] = {}

    async def send(self, keys: list[str], window: int | None) -> None:
        self._keys.extend(keys)
        width = len(keys) if window is None else window
        submissions = SubmissionPipeline(self._connection, self._connection.submitter, "", None, width)

        async def pull(most: int) -> bool:
            await self._read()
            if not self._ready:
                submissions.put(End())
                return False
            for _ in range(min(most, len(self._ready))):
                submissions.put(self._ready.popleft())
            return True

        while not submissions.is_done:
            if submissions.is_ready:
                submissions.pop()
            else:
                await submissions.advance(pull)

    async def _read(self) -> None:
        if self._ready or not self._keys:
            return
        keys = [self._keys.popleft() for _ in range(min(READ_AT_ONCE, len(self._keys)))]
        for intent in await self._roll.intents(keys):
            order = SubmissionRequest(intent)
            self.orders[intent.key] = order
            self._ready.append(order)
