"""What the store hands out and takes in: one job as the platform knows it. Times are microseconds since 1970, UTC."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ..models import JobStatus, JSONValue

LANGUAGE: Final = "blackbird:1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """
    An API key, of which only the hash is known, and the account it acts for, by id and by name. ``used`` is when it was last
    exchanged for an access token, to the hour; ``revoked`` when it was revoked, if it was.
    """

    id: str
    hash: str = field(repr=False)
    name: str
    account: str
    account_name: str
    created: int
    used: int | None
    revoked: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """
    The idempotency key of a submission, the hash of what it submits, and how the answer is written that is kept with the job
    and given to whoever comes with the key again.
    """

    key: str
    fingerprint: str
    answer: Callable[[JobRecord], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """The body of the 201 that an idempotency key was answered with."""

    fingerprint: str
    job_id: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job that has passed every check and waits to be written down."""

    id: str
    account: str
    target: str
    circuit: str
    shots: int
    seed: int
    name: str | None = None
    language: str = LANGUAGE
    claim: Claim | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFile:
    """
    A result on disk: an uncompressed ``.npz`` of ``size`` bytes whose only member, ``arr_0.npy``, lies at ``npy_offset`` and
    is ``npy_size`` bytes long. The digests are SHA-256 in hexadecimal. ``name`` is relative to the folder of results.
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
    One row of the store. ``sequence`` grows with submission, ``change`` with every change of any job; a running job is
    ``queued`` with ``started`` set, since the protocol has no word for running. ``attempt`` counts how often it was started,
    ``lost`` how many of these attempts took their worker with them.
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

    @property
    def running_time(self) -> float | None:
        """Seconds from start to end of a job that has run."""
        if self.started is None or self.finished is None:
            return None
        return (self.finished - self.started) / 1e6
