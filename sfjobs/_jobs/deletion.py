"""Deletion of one job, an extension of the protocol that not every platform offers."""

from __future__ import annotations

from ..errors import ConflictError, NotFoundError
from .job_errors import deletion_not_offered_error, too_early_to_delete_error
from .job_state import JobState


async def delete(state: JobState) -> None:
    """
    Delete the job on the platform. Nothing is sent to a platform that does not offer it.

    Raises:
        InvalidJobOperationError: the job has not ended, or the platform does not offer deletion.
    """
    api = state.session.api
    if not await api.offers("delete"):
        raise deletion_not_offered_error(state.quoted)
    try:
        await api.delete(state.id)
    except ConflictError as error:
        raise too_early_to_delete_error(state.quoted) from error
    except NotFoundError as error:
        # An earlier attempt may have deleted the job, and only its response was lost.
        if error.attempts <= 1:
            raise
