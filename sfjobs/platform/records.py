"""What the store keeps, as plain data: API keys, jobs and their results. Times are microseconds since 1970, UTC."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ..models import JobStatus, JSONValue

LANGUAGE: Final = "blackbird:1.0"

MAX_PRIORITY: Final = 100
"""Priorities are from -100 to 100, and 0 unless a submission says otherwise. A higher one runs earlier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """
    An API key and the account it acts for. ``account`` is an id. ``used`` is the time of its last exchange for an access token,
    to the hour. Of the key itself only the hash is known.
    """

    id: str
    hash: str = field(repr=False)
    name: str
    account: str
    account_name: str
    created: int
    used: int | None
    revoked: int | None


@dataclass(frozen=True, slots=True)
class Pause:
    """A target that runs no jobs from ``since`` to ``until``; None for no end that is known."""

    target: str
    reason: str
    since: int
    until: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningSecret:
    """A secret that signs access tokens. ``replaced`` is the time when another took its place, None for the one in use."""

    id: str
    value: str = field(repr=False)
    replaced: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyKey:
    """
    The idempotency key of a submission, and the hash of what it submits. ``response_body`` makes the body of the response that is
    stored with the job and given again to each repeated submission.
    """

    value: str
    fingerprint: str
    response_body: Callable[[JobRecord], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResponse:
    """The body of the 201 to the first submission with an idempotency key."""

    fingerprint: str
    job_id: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job that passed all checks and is not stored yet."""

    id: str
    account: str
    target: str
    circuit: str
    shots: int
    seed: int
    name: str | None = None
    language: str = LANGUAGE
    priority: int = 0
    idempotency_key: IdempotencyKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFile:
    """
    A stored result: an uncompressed ``.npz`` of ``size`` bytes whose only member, ``arr_0.npy``, lies at ``npy_offset`` and is
    ``npy_size`` bytes long. The digests are SHA-256 in hexadecimal. ``name`` is its name in the store of results.
    """

    name: str
    size: int
    digest: str
    npy_offset: int
    npy_size: int
    npy_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """
    A job. ``sequence`` grows with each submission, ``change`` with each change of any job of its account. A running job is
    ``queued`` with ``started`` set, since the protocol has no word for running. ``attempt`` is the number of starts, ``lost`` the
    number of these attempts that lost their worker. ``result_deleted`` is the time when the result of a complete job was deleted.
    """

    sequence: int
    id: str
    account: str
    name: str | None
    target: str
    language: str
    shots: int
    seed: int
    status: JobStatus
    created: int
    started: int | None
    finished: int | None
    meta: Mapping[str, JSONValue]
    attempt: int
    lost: int
    change: int
    result: ResultFile | None
    priority: int = 0
    result_deleted: int | None = None

    @property
    def queued(self) -> QueuedJob:
        """What the queue has to know of the job."""
        return QueuedJob(self.sequence, self.id, self.account, self.target, self.priority)

    @property
    def running_time(self) -> float | None:
        """Seconds from start to end, None for a job that has not run or not ended; 0 if the clock was set back meanwhile."""
        if self.started is None or self.finished is None:
            return None
        return max(0, self.finished - self.started) / 1e6


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A waiting job, as the queue knows it. ``sequence`` grows with each submission."""

    sequence: int
    id: str
    account: str
    target: str
    priority: int = 0


@dataclass(frozen=True, slots=True)
class DeletedJob:
    """A deleted job; ``change`` is the number of its deletion, ``result`` the name of its result, which may have a file still."""

    id: str
    account: str
    change: int
    result: str | None = None
