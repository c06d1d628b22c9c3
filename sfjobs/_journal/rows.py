"""The rows of the journal as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256

from ..models import JobStatus


class State(StrEnum):
    """The state of one submission."""

    ADDED = "added"
    """It is in a group and was not sent yet."""
    OPEN = "open"
    """It may have been sent, and its outcome is unknown."""
    SUBMITTED = "submitted"
    """The platform has the job."""
    REFUSED = "refused"
    """The platform refused it."""
    UNSENT = "unsent"
    """It did not reach the platform, or the platform did nothing with it."""
    GIVEN_UP = "given_up"
    """Its outcome is unknown, and the caller no longer wants to know it."""


@dataclass(frozen=True, slots=True)
class Intent:
    """
    A submission that is about to be sent.

    ``body`` is the body of the request, byte for byte: a platform accepts a repeated idempotency key only with the same body. No
    credential is stored; ``account`` is a short hash of the API key.
    """

    key: str
    url: str
    account: str
    target: str
    shots: int | None = None
    name: str | None = None
    body: bytes = field(default=b"", repr=False)

    @property
    def digest(self) -> str:
        """The SHA-256 of the body in hexadecimal."""
        return sha256(self.body).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionOutcome:
    """The outcome of the intent with this key. OPEN: it was sent, and the outcome is unknown."""

    key: str
    state: State
    job_id: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """
    An open intent, the reason why it stayed open, and when it was first sent, in seconds since the epoch on this machine's clock.
    ``clock`` is how far the platform's was ahead then, None if that was not known.
    """

    intent: Intent
    opened_at: float
    group: str | None
    reason: str | None
    clock: float | None = None

    @property
    def key(self) -> str:
        return self.intent.key


@dataclass(frozen=True, slots=True)
class OtherAccount:
    """An account of another user, or an API key that was replaced. ``job_id`` is its latest known job."""

    account: str
    job_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMember:
    """
    One attempt at one program of a group.

    ``attempt`` counts from 1, ``index`` from 0. ``state`` is the state of its submission, ``status`` the last known status of its
    job, and ``follows`` the key of the attempt before.
    """

    index: int
    attempt: int
    key: str
    state: State
    target: str
    shots: int | None
    name: str | None
    digest: str
    job_id: str | None
    status: JobStatus | None
    reason: str | None
    follows: str | None
