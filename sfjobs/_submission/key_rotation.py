"""
Whose it is what was written under another API key, which may have been replaced since: the platform knows, for it shows a job
to its own account alone. ``recovery`` and ``group`` ask when they find something of another key's.
"""

from __future__ import annotations

import logging

from .._http.api import PlatformAPI
from .._journal import Journal, JournalSession, OtherAccount
from ..errors import ConfigurationError, NotFoundError, PermissionDeniedError

logger = logging.getLogger("sfjobs")


async def adopt(record: JournalSession, journal: Journal, api: PlatformAPI, other: OtherAccount) -> bool:
    """
    Takes over what was written under the other key, if that was one of this account: if the platform shows its latest job to
    this key. Raises what lets nobody be asked, such as TransportError.
    """
    if other.job_id is None or not await _shows(api, other.job_id):
        return False
    await journal.adopt(record.url, record.account, other.account)
    logger.info("took over what another API key of this account submitted: job %s is shown to both", other.job_id)
    return True


async def take_over_group(record: JournalSession, journal: Journal, api: PlatformAPI, name: str) -> bool:
    """
    Whether there was a group of this name under a key that this one has replaced; it is this key's now. Raises
    ConfigurationError when it may be anybody's: begun anew here, all of it could be submitted a second time.
    """
    others = await journal.other_accounts(record.url, record.account, name)
    for other in others:
        if await adopt(record, journal, api, other):
            return True
    if others:
        raise ConfigurationError(
            f"The group {name!r} was begun with another API key of {record.url}, and the platform does not show that"
            " one's jobs to this one.\nUse that key, or another name for the group."
        )
    return False


async def _shows(api: PlatformAPI, job_id: str) -> bool:
    try:
        await api.job(job_id)
    except (NotFoundError, PermissionDeniedError):
        return False
    return True
