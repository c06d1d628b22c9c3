"""
The platform's endpoints as typed coroutines, in the API version of the settings. They return models and keep no state.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from .._protocol import wire
from .._protocol.wire import Known
from ..config import Settings
from ..errors import NotFoundError
from ..models import Cursor, Device, DeviceSpecification, JobSnapshot, JobStatus, JSONValue
from .messages import ByteStream, Lane, Request, Response, compact_json
from .rate_limiter import RateLimit
from .transport import Transport

logger = logging.getLogger("sfjobs")

MAX_PAGE_SIZE = 100

_logged_statuses: set[str] = set()


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list of jobs, the path of the next page, and the response's place in the change feed."""

    snapshots: list[JobSnapshot]
    next_path: str | None
    cursor: Cursor | None


class PlatformAPI:
    """The endpoints of the platform, except for submissions: ``_submission.submitter`` sends those."""

    def __init__(self, settings: Settings, transport: Transport) -> None:
        self._settings = settings
        self._transport = transport
        self._legacy = settings.api_version == "0.2.0"

    @property
    def settings(self) -> Settings:
        return self._settings

    @property
    def rate_limit(self) -> RateLimit:
        return self._transport.rate_limit

    async def ping(self) -> None:
        """Return when the platform has accepted the credentials."""
        await self._get("/healthz", lane="query")

    async def job(self, job_id: str, *, attempts: int | None = None, known: Known | None = None) -> JobSnapshot:
        """Return the job's current snapshot. ``attempts=1`` is for polls, whose caller retries."""
        response = await self._get(wire.job_path(job_id), lane=_lane(attempts), attempts=attempts)
        snapshot = log_unknown_status(response.parse(partial(wire.job_snapshot, cursor=response.cursor(), known=known)))
        if snapshot.id != job_id:
            response.reject(f"it is about another job, {snapshot.id!r}")
        return snapshot

    async def jobs(
        self,
        *,
        ids: Sequence[str] = (),
        status: JobStatus | None = None,
        size: int | None = None,
        attempts: int | None = None,
        known: Known | None = None,
    ) -> Page:
        """Return one page of jobs, newest first, without a filter if ``ids`` is empty. ``known`` as in ``wire.job_snapshot``."""
        params = [("size", str(size if size is not None else max(len(ids), 1)))]
        params += [("id", job_id) for job_id in ids]
        params += [] if status is None else [("status", status.value)]
        return self._read_page(await self._get("/jobs", params, lane=_lane(attempts), attempts=attempts), known)

    async def job_pages(
        self, *, ids: Sequence[str] = (), status: JobStatus | None = None, size: int
    ) -> AsyncGenerator[list[JobSnapshot], None]:
        """
        Yield pages of jobs, newest first, each job once: pages shift while new jobs arrive. Each page is requested when the
        caller needs it.
        """
        listed: set[str] = set()

        def new(snapshots: list[JobSnapshot]) -> list[JobSnapshot]:
            fresh = {snapshot.id: snapshot for snapshot in snapshots if snapshot.id not in listed}
            listed.update(fresh)
            return [*fresh.values()]

        page = await self.jobs(ids=ids, status=status, size=size)
        yield new(page.snapshots)
        read: set[str] = set()
        while page.next_path is not None and page.snapshots:
            read.add(page.next_path)
            response = await self._get(page.next_path, lane="query")
            page = self._read_page(response)
            if page.next_path in read:
                response.reject("its next page has been read already")
            yield new(page.snapshots)

    def _read_page(self, response: Response, known: Known | None = None) -> Page:
        cursor = response.cursor()
        snapshots = response.parse(partial(wire.job_snapshots, cursor=cursor, known=known))
        return Page([log_unknown_status(snapshot) for snapshot in snapshots], response.next_page(), cursor)

    async def changes(self, path: str, last_event_id: str | None) -> ByteStream:
        """Open the change feed of a link: the events after ``last_event_id``, or after the link."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        request = Request(method="GET", path=path, headers=headers, lane="poll", attempts=1, expect=frozenset({200}))
        return await self._transport.open(request)

    async def cancel(self, job_id: str) -> None:
        """Request the job's cancellation. Raises ConflictError if it has ended."""
        request = Request(
            method="PATCH",
            path=wire.job_path(job_id),
            headers={"Content-Type": "application/json"},
            content=compact_json(wire.CANCELLATION),
            expect=frozenset({204}) if self._legacy else None,
        )
        response = await self._transport.send(request)
        response.reject_html()

    async def circuit(self, job_id: str) -> str:
        return (await self._get(wire.job_path(job_id, "/circuit"), lane="bulk")).parse(wire.circuit)

    async def devices(self) -> list[Device]:
        return (await self._get("/devices")).parse(wire.devices)

    async def device(self, target: str) -> Device:
        response = await self._get(wire.device_path(target))
        device = response.parse(wire.device)
        if device.target != target:
            response.reject(f"it is about another device, {device.target!r}")
        return device

    async def specification(self, target: str) -> DeviceSpecification:
        response = await self._get(wire.device_path(target, "/specifications"))
        return response.parse(partial(wire.specification, target=target))

    async def certificate(self, target: str) -> Mapping[str, JSONValue] | None:
        """Return the certificate, or None where the platform has none. Version 0.2.0 of the protocol has no certificates."""
        if self._legacy:
            return None
        try:
            response = await self._get(wire.device_path(target, "/certificate"))
        except NotFoundError:
            return None
        return response.parse(wire.certificate)

    async def _get(
        self,
        path: str,
        params: Sequence[tuple[str, str]] = (),
        *,
        lane: Lane = "query",
        attempts: int | None = None,
    ) -> Response:
        request = Request(method="GET", path=path, params=params, lane=lane, attempts=attempts, expect=frozenset({200}))
        return await self._transport.send(request)


def _lane(attempts: int | None) -> Lane:
    return "query" if attempts is None else "poll"


def log_unknown_status(snapshot: JobSnapshot) -> JobSnapshot:
    """Return the snapshot. Log a status that sfjobs does not know, once per process."""
    word = snapshot.status
    if not word.is_known and word not in _logged_statuses and len(_logged_statuses) < 100:
        _logged_statuses.add(word)
        logger.warning(
            "job %s has the status %r, which sfjobs does not know: the wait goes on", snapshot.id, word.value
        )
    return snapshot
