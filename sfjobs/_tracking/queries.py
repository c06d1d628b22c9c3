"""
How the platform is asked: by lists of up to 100 ids, about one job at a time, or, best, by listening to its change feed. Which
of them, is what the platform has shown that it can. None repeats a request by itself: the poller has a interval and a backoff.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from .._http.api import MAX_PAGE_SIZE, PlatformAPI
from .._protocol.wire import Known
from ..errors import ResponseError
from ..models import Cursor, JobSnapshot
from .types import NoListError, StatusReport, StatusSource

logger = logging.getLogger("sfjobs")

LONGEST_QUERY = 6000
"""Characters of ids in one list request: 100 UUIDs make 4 036, and common limits on a whole URL are 8 192."""


class ListSource:
    """``GET /jobs`` with as many ids as fit."""

    batch = MAX_PAGE_SIZE

    def __init__(self, api: PlatformAPI) -> None:
        self._api = api

    async def ask(self, ids: Sequence[str], known: Known) -> StatusReport:
        snapshots: dict[str, JobSnapshot] = {}
        cursor: Cursor | None = None
        for part in _fitting(ids):
            page = await self._api.jobs(ids=part, attempts=1, known=known)
            snapshots.update((snapshot.id, snapshot) for snapshot in page.snapshots)
            cursor = cursor or page.cursor  # the first was asked when the least had happened
        return StatusReport(snapshots, cursor)


class SingleSource:
    """``GET /jobs/{id}``."""

    batch = 1

    def __init__(self, api: PlatformAPI) -> None:
        self._api = api

    async def ask(self, ids: Sequence[str], known: Known) -> StatusReport:
        [job_id] = ids
        snapshot = await self._api.job(job_id, attempts=1, known=known)
        return StatusReport({job_id: snapshot}, snapshot.cursor)


class StatusSources:
    """What is known of how one platform can be asked. ``many`` is ``single`` on a platform that shows no list."""

    def __init__(self, api: PlatformAPI) -> None:
        self.single: StatusSource = SingleSource(api)
        self.many: StatusSource = self.single if api.settings.api_version == "0.2.0" else ListSource(api)

    async def ask(self, ids: Sequence[str], known: Known) -> StatusReport:
        """Asks about all at once. Raises NoListError when that turns out to be impossible, and from then on about one."""
        try:
            return await self.many.ask(ids, known)
        except ResponseError as error:
            if self.many is self.single or error.status_code not in (404, 405, 501):
                raise
            logger.info("the platform shows no list of jobs (%d): asking about each one by itself", error.status_code)
            self.many = self.single
            raise NoListError from error


def _fitting(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """The ids in as few parts as fit a URL each."""
    start, room = 0, LONGEST_QUERY
    for place, job_id in enumerate(ids):
        room -= len(job_id) + len("&id=")
        if room < 0 and place > start:
            yield ids[start:place]
            start, room = place, LONGEST_QUERY - len(job_id) - len("&id=")
    yield ids[start:]
