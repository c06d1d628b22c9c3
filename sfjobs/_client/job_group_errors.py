"""The errors that end the wait of a group early, or at its end where only a person can go on."""

from __future__ import annotations

from collections.abc import Sequence

from .._jobs.job import Job
from .._journal import GroupMember, State
from ..errors import SubmissionUnknownError, WaitTimeoutError

MAX_NAMED = 5
"""Programs that the message names."""


def unknown_error(name: str, members: Sequence[GroupMember], url: str) -> SubmissionUnknownError:
    """Return the error for the group ``name``, all of whose other ``members`` have ended."""
    unknown = [member for member in members if member.state == State.OPEN]
    lines = [
        f"program {member.name or member.index}: {member.reason or 'no response'}" for member in unknown[:MAX_NAMED]
    ]
    more = f"; and {len(unknown) - MAX_NAMED} more" if len(unknown) > MAX_NAMED else ""
    return SubmissionUnknownError(
        f"the platform may or may not have the jobs of {len(unknown)} programs of the group {name!r}; all others have ended."
        f" Say which job is whose, or give them up with `sfjobs recover --give-up`. {'; '.join(lines)}{more}",
        method="POST",
        url=f"{url}/jobs",
        idempotency_key=unknown[0].key,
        name=unknown[0].name,
    )


def timeout_error(
    name: str, jobs: Sequence[Job], programs: int, timeout: float | None, trouble: str | None
) -> WaitTimeoutError:
    """Return the error for the group ``name`` after ``timeout`` seconds. ``trouble`` is why programs could not be sent."""
    done = tuple(job.id for job in jobs if job.status.is_final)
    why = "" if trouble is None else f". The last attempt to send programs failed: {trouble}"
    return WaitTimeoutError(
        f"after {timeout:g} s {len(done)} of {programs} programs of the group {name!r} have ended; the jobs of others go on{why}",
        done=done,
        pending=tuple(job.id for job in jobs if not job.status.is_final),
    )
