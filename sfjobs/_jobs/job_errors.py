"""The errors about jobs, with messages made from their latest snapshots."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice
from typing import TypeVar

from ..errors import (
    CancelledJobError,
    FailedJobError,
    InvalidJobOperationError,
    JobError,
    ResultUnavailableError,
    WaitTimeoutError,
)
from ..models import JobSnapshot, JobStatus
from .job_state import JobState

ErrorT = TypeVar("ErrorT", bound=JobError)

MAX_REASON_CHARACTERS = 1000
"""Of each entry of a failed job's ``meta`` that its error quotes; ``meta`` has the whole entry."""


def unsuccessful_error(snapshot: JobSnapshot) -> FailedJobError | CancelledJobError | None:
    """Return the error for a job that has ended without a result, with the platform's reason; None for any other."""
    if snapshot.status == JobStatus.FAILED:
        entries = islice(snapshot.meta.items(), 10)
        reason = "; ".join(f"{key}: {value}"[:MAX_REASON_CHARACTERS] for key, value in entries)
        return _error(FailedJobError, snapshot, f"failed: {reason}" if reason else "failed")
    if snapshot.status == JobStatus.CANCELLED:
        return _error(CancelledJobError, snapshot, "was cancelled")
    return None


def wait_timeout_error(state: JobState, timeout: float | None) -> WaitTimeoutError:
    snapshot = state.quoted
    rest = "its result has not arrived" if snapshot.status.is_final else "it goes on"
    cause = f". The last request about it failed: {state.trouble}" if state.trouble else ""
    return WaitTimeoutError(
        f"job {snapshot.id} is {snapshot.status.value} after a wait of {timeout:g} s: {rest}{cause}",
        job_id=snapshot.id,
        status=snapshot.status,
        meta=snapshot.meta,
        pending=(snapshot.id,),
    )


def wait_all_timeout_error(
    states: Iterable[JobState], timeout: float | None, *, done: Collection[str]
) -> WaitTimeoutError:
    """Return the error of a wait for several jobs. ``done`` has the ids of those that were ready in time."""
    by_id = {state.id: state for state in states}
    pending = {job_id: state for job_id, state in by_id.items() if job_id not in done}
    troubles = (state.why().last_error for state in pending.values())
    cause = next((f". The last request about one failed: {trouble}" for trouble in troubles if trouble), "")
    return WaitTimeoutError(
        f"after {timeout:g} s {len(by_id) - len(pending)} of {len(by_id)} jobs have ended; the others go on{cause}",
        done=tuple(job_id for job_id in by_id if job_id in done),
        pending=tuple(pending),
    )


def too_late_to_cancel_error(snapshot: JobSnapshot) -> InvalidJobOperationError:
    message = f"is {snapshot.status.value} and can no longer be cancelled"
    return _error(InvalidJobOperationError, snapshot, message)


def too_early_to_delete_error(snapshot: JobSnapshot) -> InvalidJobOperationError:
    message = "has not ended and cannot be deleted: cancel it first, or wait for it"
    return _error(InvalidJobOperationError, snapshot, message)


def deletion_not_offered_error(snapshot: JobSnapshot) -> InvalidJobOperationError:
    message = "cannot be deleted: this platform does not offer the deletion of jobs. Nothing was sent"
    return _error(InvalidJobOperationError, snapshot, message)


def result_unavailable_error(snapshot: JobSnapshot) -> ResultUnavailableError:
    if snapshot.status == JobStatus.COMPLETED:
        remedy = "its result has not been fetched: await job.fetch_result()"
    elif snapshot.status.is_final:
        remedy = "there will be no result"
    else:
        remedy = "there is no result yet: await job.wait()"
    return ResultUnavailableError(f"job {snapshot.id} is {snapshot.status.value}; {remedy}", job_id=snapshot.id)


def _error(kind: type[ErrorT], snapshot: JobSnapshot, what: str) -> ErrorT:
    return kind(f"job {snapshot.id} {what}", job_id=snapshot.id, status=snapshot.status, meta=snapshot.meta)
