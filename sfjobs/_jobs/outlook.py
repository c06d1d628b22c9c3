"""``JobOutlook`` from what a job's handle, the poller and the rate limiter know. Sends no request."""

from __future__ import annotations

import anyio

from .._http.rate_limiter import RateLimit
from .._tracking.types import PollOutlook
from ..models import JobOutlook, JobSnapshot


def build_outlook(
    snapshot: JobSnapshot,
    poll: PollOutlook,
    limit: RateLimit | None,
    now: float | None,
    *,
    first_seen: float | None,
    asked_at: float | None,
    trouble: str | None,
) -> JobOutlook:
    """
    Return the outlook of one job.

    ``now`` is the event loop's time, see ``loop_time``. ``trouble`` is the error of the handle's own last request.
    """
    position = snapshot.meta.get("queue_position")
    return JobOutlook(
        job_id=snapshot.id,
        status=snapshot.status,
        started_at=snapshot.started_at,
        queue_position=position if isinstance(position, int) and not isinstance(position, bool) else None,
        age=_seconds(first_seen, now),
        last_check=_seconds(asked_at, now),
        last_error=poll.trouble or trouble,
        next_check=_seconds(now, poll.due),
        is_told=poll.is_told,
        failing_for=_seconds(poll.failing_since, now),
        resting_for=None if limit is None else _seconds(now, limit.paused_until),
        rate=None if limit is None else limit.rate,
    )


def loop_time() -> float | None:
    """Return the event loop's time, None where no event loop runs."""
    try:
        return anyio.current_time()
    except RuntimeError:
        return None


def _seconds(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(end - start, 0.0)
