"""What is raised about a job, in words, by what was last heard of it. Called by ``job``."""

from __future__ import annotations

from itertools import islice

from ..errors import (
    CancelledJobError,
    FailedJobError,
    InvalidJobOperationError,
    ResultUnavailableError,
    WaitTimeoutError,
)
from ..models import JobSnapshot, JobStatus

LONGEST_REASON = 1000
"""Characters of each of a failed job's own words that its error quotes; ``meta`` has them whole."""


def unsuccessful(snapshot: JobSnapshot) -> FailedJobError | CancelledJobError | None:
    """The error for a job that has ended without a result, with the platform's reason; None for any other."""
    job_id, status, meta = snapshot.id, snapshot.status, snapshot.meta
    if status == JobStatus.FAILED:
        reason = "; ".join(f"{key}: {value}"[:LONGEST_REASON] for key, value in islice(meta.items(), 10))
        message = f"job {job_id} failed" + (f": {reason}" if reason else "")
        return FailedJobError(message, job_id=job_id, status=status, meta=meta)
    if status == JobStatus.CANCELLED:
        return CancelledJobError(f"job {job_id} was cancelled", job_id=job_id, status=status, meta=meta)
    return None


def wait_timeout_error(snapshot: JobSnapshot, timeout: float | None, trouble: str | None) -> WaitTimeoutError:
    """``trouble`` is what went wrong with the last question about it."""
    what = "its result is still on the way" if snapshot.status.is_final else "it goes on"
    why = f". The last question about it failed: {trouble}" if trouble else ""
    return WaitTimeoutError(
        f"job {snapshot.id} was waited for during {timeout:g} s and is {snapshot.status.value}: {what}{why}",
        job_id=snapshot.id,
        status=snapshot.status,
        meta=snapshot.meta,
        pending=(snapshot.id,),
    )


def too_late_to_cancel(snapshot: JobSnapshot) -> InvalidJobOperationError:
    return InvalidJobOperationError(
        f"job {snapshot.id} is {snapshot.status.value} and can no longer be cancelled",
        job_id=snapshot.id,
        status=snapshot.status,
        meta=snapshot.meta,
    )


def result_unavailable_error(snapshot: JobSnapshot) -> ResultUnavailableError:
    """Names the present status, and what to do about it."""
    if snapshot.status == JobStatus.COMPLETED:
        remedy = "its result has not been fetched: await job.fetch_result()"
    elif snapshot.status.is_final:
        remedy = "there will be no result"
    else:
        remedy = "there is no result yet: await job.wait()"
    return ResultUnavailableError(f"job {snapshot.id} is {snapshot.status.value}; {remedy}", job_id=snapshot.id)
