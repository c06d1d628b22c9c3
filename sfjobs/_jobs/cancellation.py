"""Cancellation of one job, and of many jobs a few at a time."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import replace

import anyio

from .._util.aio import plain_task_group
from ..errors import AuthenticationError, ConflictError, RequestFailedError, SFJobsError
from ..models import JobStatus
from .job_errors import too_late_to_cancel_error
from .job_state import JobState

logger = logging.getLogger("sfjobs")

MAX_CONCURRENT_CANCELLATIONS = 32
"""Cancellations of one group of jobs that are sent at the same time."""


async def cancel(state: JobState) -> None:
    """Cancel the job and apply the platform's response. Raises InvalidJobOperationError when the job has ended."""
    if (conflict := await request_cancel(state)) is not None:
        raise too_late_to_cancel_error(state.quoted) from conflict
    if state.status == JobStatus.CANCEL_PENDING:
        try:
            await state.poll()
        except SFJobsError as error:
            if not error.retryable:
                raise
            logger.info("job %s: the platform accepted the cancellation; its status is not known: %s", state.id, error)


async def request_cancel(state: JobState, *, until_available: bool = False) -> ConflictError | None:
    """
    Send the cancellation and apply its outcome. Return the platform's refusal where the job had ended before.

    With ``until_available``, transient errors are retried without a limit.
    """
    if until_available:
        try:
            return await state.retry(lambda: request_cancel(state))
        except ConflictError as error:
            return error  # it has ended, and a cached response does not show that yet
    try:
        await state.session.api.cancel(state.id)
    except ConflictError as error:
        await state.poll()
        # An earlier attempt may have cancelled the job, and only its response was lost.
        is_ours = state.status == JobStatus.CANCELLED and error.attempts > 1
        if is_ours or state.status == JobStatus.CANCEL_PENDING:
            return None
        if state.status.is_final:
            return error
        raise
    if not state.status.is_final:
        state.snapshot = replace(state.snapshot, status=JobStatus.CANCEL_PENDING)
    return None


async def request_cancel_all(states: Iterable[JobState], *, until_available: bool) -> dict[str, SFJobsError]:
    """
    Cancel each job that is not known to have ended; return the errors of single jobs, by job id.

    Returns when all cancellations are sent. Raises an error that every other cancellation would meet, too.
    """
    handles: dict[str, list[JobState]] = {}
    for state in states:
        handles.setdefault(state.id, []).append(state)
    queue = deque(same for same in handles.values() if not any(state.status.is_final for state in same))
    errors: dict[str, SFJobsError] = {}
    fatal: list[Exception] = []

    async def work() -> None:
        while queue:
            state, *others = queue.popleft()
            try:
                await request_cancel(state, until_available=until_available)
            except Exception as error:  # noqa: BLE001 - raised below, once the cancellations under way have ended
                if isinstance(error, SFJobsError) and not _is_about_all(error):
                    errors[state.id] = error
                else:
                    queue.clear()
                    fatal.append(error)
            else:
                for other in others:
                    other.apply(state.snapshot, anyio.current_time())

    async with plain_task_group() as group:
        for _ in range(min(len(queue), MAX_CONCURRENT_CANCELLATIONS)):
            group.start_soon(work)
    if fatal:
        raise fatal[0]
    return errors


def _is_about_all(error: SFJobsError) -> bool:
    """Whether every other cancellation would fail the same way."""
    return isinstance(error, AuthenticationError) or (isinstance(error, RequestFailedError) and not error.sent)
