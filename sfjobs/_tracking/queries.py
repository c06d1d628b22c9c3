"""
The polls: ``GET /jobs`` with up to 100 ids, or ``GET /jobs/{id}``. Each request is sent once; the poller has an interval and a
backoff of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from .._http.api import MAX_PAGE_SIZE, PlatformAPI
from .._protocol.wire import Known
from ..errors import ProtocolError, ResponseError
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
        try:
            found = await self._api.job_or_error(job_id, known=known)
        except ProtocolError as error:
            # A platform that has just returned a list responds: then the response about this job is to blame.
            if self.batch_limit == 1:
                raise
            found = error.with_traceback(None)
        if isinstance(found, ProtocolError):
            return StatusReport({}, None, {job_id: found})
        return StatusReport({job_id: found}, found.cursor)

    async def _query_list(self, ids: Sequence[str], known: Known) -> StatusReport:
        snapshots: dict[str, JobSnapshot] = {}
        unreadable: dict[str, ProtocolError | None] = {}
        cursor: Cursor | None = None
        size = max(MAX_IDS_CHARACTERS // max(len(f"&id={job_id}") for job_id in ids), 1)
        for start in range(0, len(ids), size):
            asked = ids[start : start + size]
            page = await self._api.jobs(ids=asked, attempts=1, known=known)
            for record in page.records:
                if isinstance(record, JobSnapshot):
                    # Of two records of one job the later one counts, unless the job would step back.
                    if record.id not in snapshots or not record.is_behind(snapshots[record.id]):
                        snapshots[record.id] = record
                else:  # without an id it may be about each job that is missing
                    unreadable.update(dict.fromkeys(asked if record.id is None else [record.id]))
            cursor = cursor or page.cursor  # the first is the oldest: all pages hold up to there
        return StatusReport(snapshots, cursor, unreadable)
