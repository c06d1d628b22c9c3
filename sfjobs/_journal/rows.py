"""The journal's rows as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from ..models import JobStatus


class State(StrEnum):
    """How far a submission has come."""

    ADDED = "added"
    """In a group, and yet to be sent."""
    OPEN = "open"
    """It may have been sent, and there is no answer."""
    SUBMITTED = "submitted"
    """The platform has it as a job."""
    REFUSED = "refused"
    """The platform said no."""
    UNSENT = "unsent"
    """It surely did not reach the platform, or the platform did nothing with it."""
    GIVEN_UP = "given_up"
    """Nobody knows, and whoever asked no longer wants to."""

    @property
    def is_closed(self) -> bool:
        """Whether nothing is to be done or asked about it any more."""
        return self not in (State.ADDED, State.OPEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """
    What is about to be sent. ``body`` is that of the request, byte for byte, for a platform answers a key that comes back only
    with the body that it came with. No credential is in it; ``account`` tells apart whose it was.
    """

    key: str
    url: str
    account: str
    target: str
    shots: int | None = None
    name: str | None = None
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionOutcome:
    """What became of the intent with this key. OPEN: it was sent, and nobody knows."""

    key: str
    state: State
    job_id: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """
    One row with the body of its request, which is kept while it may be needed. Times are seconds since the epoch by this
    machine's clock, ``digest`` is the SHA-256 of the body in hexadecimal.
    """

    key: str
    state: State
    target: str
    shots: int | None
    name: str | None
    digest: str
    job_id: str | None
    reason: str | None
    opened_at: float
    closed_at: float | None
    group: str | None
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class OtherAccount:
    """Somebody else's rows, or those of a key that was replaced. ``job_id`` is the latest job there, None when none is known."""

    account: str
    job_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMember:
    """
    One attempt at one program of a group: the ``attempt``-th, from 1, at the ``index``-th, from 0. ``state`` is how far its
    submission has come, ``status`` how its job was when it was last heard of, and ``follows`` the key of the attempt before.
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
