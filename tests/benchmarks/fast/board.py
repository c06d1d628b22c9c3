"""
The jobs of one scenario: their data, their ends, and the numbered changes of the feed. There is no clock and no I/O here: callers
pass the time in seconds of CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

KEY: Final = "benchmark.api.key"
TOKEN: Final = b"benchmark.access.token"
TARGET: Final = "simulon_gaussian"

_JOB: Final = (
    b'{"id":"%s","name":%s,"status":"%s","target":"' + TARGET.encode() + b'","language":"blackbird:1.0",'
    b'"created_at":"%s","started_at":%s,"finished_at":%s,"running_time":%s,"meta":{}}'
)
_EVENT: Final = b"event: job\nid: %s.%d\ndata: %s\n\n"


def job_id(epoch: str, index: int) -> str:
    """Return the id of job ``index``; a client that knows the epoch knows all ids."""
    return f"{epoch}-0000-4000-8000-{index:012x}"


def job_index(id_: str) -> int:
    """Return the index of the job with this id."""
    return int(id_[24:], 16)


class Board:
    """Jobs numbered from 0. A job ends ``lifetime`` seconds after its submission, or without it as ``schedule`` says."""

    def __init__(self, *, lifetime: float | None = None) -> None:
        self.epoch = f"{random.SystemRandom().getrandbits(32):08x}"
        self.ended: list[float | None] = []
        """When each job really ended: at the first moment at which anybody could have seen it."""
        self._prefix = self.epoch.encode() + b"-0000-4000-8000-"
        self._lifetime = lifetime
        self._names: list[bytes] = []
        self._created: list[bytes] = []
        self._texts: list[bytes] = []
        self._ends: list[tuple[float, int]] = []
        self._changes: list[int] = []  # the job of each change, from change 1 on
        self._newest: list[int] = []  # each job's newest change
        self._keys: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def submit(self, now: float, fields: Mapping[str, object], key: str | None = None) -> int:
        """Add a job, or find the one with this idempotency key."""
        if key is not None and (known := self._keys.get(key)) is not None:
            return known
        index = len(self._texts)
        if key is not None:
            self._keys[key] = index
        self._names.append(json.dumps(fields.get("name")).encode())
        self._created.append(_iso_now())
        self.ended.append(None)
        self._texts.append(self._text(index, b"open"))
        self._newest.append(0)
        self._note(index)
        if self._lifetime is not None:
            heapq.heappush(self._ends, (now + self._lifetime, index))
        return index

    def schedule(self, start: float, offsets: Sequence[float]) -> None:
        """Let job i end ``offsets[i]`` seconds after ``start``."""
        for index, offset in enumerate(offsets):
            heapq.heappush(self._ends, (start + offset, index))

    def advance(self, now: float) -> bool:
        """End all jobs that are due by ``now``. Return whether any ended."""
        ended = False
        while self._ends and self._ends[0][0] <= now:
            self._end(heapq.heappop(self._ends)[1], now, b"complete")
            ended = True
        return ended

    def next_end(self) -> float | None:
        return self._ends[0][0] if self._ends else None

    def cancel(self, index: int, now: float) -> bool:
        """Cancel a job. Return False if it has ended."""
        if self.ended[index] is not None:
            return False
        self._end(index, now, b"cancelled")
        return True

    def find(self, id_: bytes) -> int | None:
        """Return the index of the job with this id, or None."""
        if not id_.startswith(self._prefix):
            return None
        index = int(id_[24:], 16)
        return index if index < len(self._texts) else None

    def text(self, index: int) -> bytes:
        """Return the job object as JSON."""
        return self._texts[index]

    def texts(self, indices: Iterable[int]) -> bytes:
        """Return job objects as the items of a JSON list."""
        texts = self._texts
        return b",".join([texts[index] for index in indices])

    @property
    def newest_change(self) -> int:
        return len(self._changes)

    def cursor(self, change: int) -> bytes:
        return b"%s.%d" % (self.epoch.encode(), change)

    def change_at(self, cursor: bytes) -> int | None:
        """Return the change of a cursor, or None if it belongs to another board."""
        epoch, _, number = cursor.rpartition(b".")
        if epoch != self.epoch.encode() or not number.isdigit() or int(number) > len(self._changes):
            return None
        return int(number)

    def events(self, after: int) -> bytes:
        """Return all jobs that changed after this change, in their newest state, oldest change first."""
        epoch, newest, texts = self.epoch.encode(), self._newest, self._texts
        return b"".join(
            [
                _EVENT % (epoch, change, texts[index])
                for change, index in enumerate(self._changes[after:], after + 1)
                if newest[index] == change
            ]
        )

    def _end(self, index: int, now: float, status: bytes) -> None:
        if self.ended[index] is not None:
            return
        self.ended[index] = now
        self._texts[index] = self._text(index, status)
        self._note(index)

    def _note(self, index: int) -> None:
        self._changes.append(index)
        self._newest[index] = len(self._changes)

    def _text(self, index: int, status: bytes) -> bytes:
        id_ = self._prefix + b"%012x" % index
        started = finished = running = b"null"
        if status != b"open":
            started, finished, running = b'"%s"' % self._created[index], b'"%s"' % _iso_now(), b"0.012345"
        return _JOB % (id_, self._names[index], status, self._created[index], started, finished, running)


def uniform(jobs: int, first: float, last: float, seed: int) -> list[float]:
    """Return ends at equal intervals from ``first`` to ``last``, in random order."""
    step = (last - first) / max(jobs - 1, 1)
    offsets = [first + step * index for index in range(jobs)]
    random.Random(seed).shuffle(offsets)
    return offsets


def _iso_now() -> bytes:
    return datetime.now(UTC).isoformat(timespec="microseconds")[:-6].encode() + b"Z"
