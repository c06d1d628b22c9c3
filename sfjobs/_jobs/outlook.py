"""Why a job is not done yet, put together from what its handle, the poller and the connection's pace know. Asks nobody."""

from __future__ import annotations

import anyio

from .._http.rate_limiter import RateLimit
from .._tracking.types import PollOutlook
from ..models import JobOutlook, JobSnapshot


def build_outlook(
    snapshot: JobSnapshot,
    outlook: PollOutlook,
    pace: RateLimit | None,
    now: float | None,
    *,
    first_seen: float | None,
    asked_at: float | None,
    trouble: str | None,
) -> JobOutlook:
    """
    ``trouble`` is what went wrong with the last question that was not the poller's. ``now`` is the loop's time, see
    ``time_here``.
    """
    position = snapshot.meta.get("queue_position")
    return JobOutlook(
        job_id=snapshot.id,
        status=snapshot.status,
        started_at=snapshot.started_at,
        queue_position=position if isinstance(position, int) and not isinstance(position, bool) else None,
        age=_seconds(first_seen, now),
        last_check=_seconds(asked_at, now),
        last_error=outlook.trouble or trouble,
        next_check=_seconds(now, outlook.due),
        is_told=outlook.is_told,
        failing_for=_seconds(outlook.failing_since, now),
        resting_for=None if pace is None else _seconds(now, pace.paused_until),
        rate=None if pace is None else pace.rate,
    )


def time_here() -> float | None:
    """None where no event loop runs."""
    try:
        return anyio.current_time()
    except RuntimeError:
        return None


def _seconds(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(end - start, 0.0)
