"""
The polls: ``GET /jobs`` with up to 100 ids, or ``GET /jobs/{id}``. Each request is sent once; the poller has an interval and a
backoff of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from .._http.api import MAX_PAGE_SIZE, PlatformAPI
from .._protocol.wire import Known
from ..errors import ResponseError
from ..models import Cursor, JobSnapshot
from .types import StatusReport

logger = logging.getLogger("sfjobs")

MAX_IDS_CHARACTERS = 6000
"""Characters of ids in one list request: 100 UUIDs make 4 036, and common limits on a whole URL are 8 192."""


class StatusSources:
    """The polls of one platform: a list of jobs where it has one, or a single job."""

    def __init__(self, api: PlatformAPI) -> None:
        self._api = api
        self.batch_limit = 1 if api.settings.api_version == "0.2.0" else MAX_PAGE_SIZE

    async def query(self, ids: Sequence[str], known: Known) -> StatusReport | None:
        """Poll the jobs. Return None when the platform turns out to have no list: from then on ``batch_limit`` is 1."""
        if self.batch_limit == 1:
            return await self.query_single(ids[0], known)
        try:
            return await self._query_list(ids, known)
        except ResponseError as error:
            if error.status_code not in (404, 405, 501):
                raise
            logger.info("the platform has no list of jobs (%d): polling each job by itself", error.status_code)
            self.batch_limit = 1
            return None

    async def query_single(self, job_id: str, known: Known) -> StatusReport:
        """Poll with ``GET /jobs/{id}``."""
        snapshot = await self._api.job(job_id, attempts=1, known=known)
        return StatusReport({job_id: snapshot}, snapshot.cursor)

    async def _query_list(self, ids: Sequence[str], known: Known) -> StatusReport:
        snapshots: dict[str, JobSnapshot] = {}
        cursor: Cursor | None = None
        size = max(MAX_IDS_CHARACTERS // max(len(f"&id={job_id}") for job_id in ids), 1)
        for start in range(0, len(ids), size):
            page = await self._api.jobs(ids=ids[start : start + size], attempts=1, known=known)
            snapshots.update((snapshot.id, snapshot) for snapshot in page.snapshots)
            cursor = cursor or page.cursor  # the first is the oldest: all pages hold up to there
        return StatusReport(snapshots, cursor)
