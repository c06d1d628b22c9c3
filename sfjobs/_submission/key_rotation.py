"""
Finds journal entries that belong to this account but were written with an earlier API key. The platform decides: it shows a job
only to its own account.
"""

from __future__ import annotations

import logging

from .._http.api import PlatformAPI
from .._journal import Journal, JournalSession, OtherAccount
from ..errors import ConfigurationError, NotFoundError, PermissionDeniedError

logger = logging.getLogger("sfjobs")


async def adopt(session: JournalSession, journal: Journal, api: PlatformAPI, other: OtherAccount) -> bool:
    """
    Move the rows of ``other`` to this account if the platform shows its latest job to this API key. Returns whether it does.

    Raises:
        RequestFailedError: the platform cannot be asked.
    """
    if other.job_id is None:
        return False
    try:
        await api.job(other.job_id)
    except (NotFoundError, PermissionDeniedError):
        return False
    await journal.adopt(session.url, session.account, other.account)
    logger.info(
        "adopted the submissions of another API key of this account: job %s is visible to both keys", other.job_id
    )
    return True


async def adopt_group(session: JournalSession, journal: Journal, api: PlatformAPI, name: str) -> bool:
    """
    Adopt the group of this name from an API key that this one has replaced. Returns whether there was one.

    Raises:
        ConfigurationError: another key has a group of this name, and it may be of another account. A new group of this name could
            submit all its programs a second time.
    """
    others = await journal.other_accounts(session.url, session.account, name)
    for other in others:
        if await adopt(session, journal, api, other):
            return True
    if others:
        raise ConfigurationError(
            f"The group {name!r} was created with another API key of {session.url}, and the platform does not show the jobs of"
            " that key to this one.\nUse that key, or another name for the group."
        )
    return False
