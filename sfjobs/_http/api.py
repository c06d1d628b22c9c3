"""
The platform's endpoints as typed coroutines, in the API version of the settings. They return models and keep no state.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from .._protocol import wire
from .._protocol.wire import Known, MalformedRecord
from ..config import Settings
from ..errors import NotFoundError, ProtocolError, RequestFailedError
from ..models import Cursor, Device, DeviceSpecification, JobSnapshot, JobStatus, JSONValue
from .clock import PlatformClock
from .messages import ByteStream, Lane, Request, Response, compact_json
from .rate_limiter import RateLimit
from .transport import Transport

logger = logging.getLogger("sfjobs")

MAX_PAGE_SIZE = 100


@dataclass(frozen=True, slots=True)
class Page:
    """
    One page of a list of jobs, the path of the next page, and the response's place in the change feed. A record that cannot be
    read stands in its place in ``records``.
    """

    records: list[JobSnapshot | MalformedRecord]
    next_path: str | None
    cursor: Cursor | None

    @property
    def snapshots(self) -> list[JobSnapshot]:
        """The jobs that can be read."""
        return [record for record in self.records if isinstance(record, JobSnapshot)]


class PlatformAPI:
    """The endpoints of the platform, except for submissions: ``_submission.submitter`` sends those."""

    def __init__(self, settings: Settings, transport: Transport) -> None:
        self._settings = settings
        self._transport = transport
        self.note = transport.odd_fields.note
        self._note_status = transport.odd_fields.note_status
        self._legacy = settings.api_version == "0.2.0"
        self._extensions: frozenset[str] = frozenset()

    @property
    def settings(self) -> Settings:
        return self._settings

    @property
    def rate_limit(self) -> RateLimit:
        return self._transport.rate_limit

    @property
    def clock(self) -> PlatformClock:
        return self._transport.clock

    async def offers(self, extension: str) -> bool:
        """
        Return whether the platform offers this extension of the protocol by its name, as lists of jobs say. One job is listed
        unless an earlier list has said so.
        """
        if extension not in self._extensions:
            await self.jobs(size=1)
        return extension in self._extensions

    async def ping(self) -> None:
        """Return when the platform has accepted the credentials."""
        await self._get("/healthz", lane="query")

    async def job(self, job_id: str, *, attempts: int | None = None, known: Known | None = None) -> JobSnapshot:
        """Return the job's current snapshot. ``attempts=1`` is for polls, whose caller retries."""
        response = await self._get(wire.job_path(job_id), lane=_lane(attempts), attempts=attempts)
        return self._read_job(job_id, response, known)

    async def job_or_error(self, job_id: str, *, known: Known | None = None) -> JobSnapshot | ProtocolError:
        """As ``job``, with one attempt. Return the error of a response that is the platform's, and cannot be read."""
        response = await self._get(wire.job_path(job_id), lane="poll", attempts=1)
        try:
            return self._read_job(job_id, response, known)
        except ProtocolError as error:
            if not response.is_json_object:
                raise
            return error.with_traceback(None)

    def _read_job(self, job_id: str, response: Response, known: Known | None) -> JobSnapshot:
        read = partial(wire.job_snapshot, cursor=response.cursor(), known=known, note=self.note)
        snapshot = self._note_status(response.parse(read, salvage=True))
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
        caller needs it. A job whose record cannot be read is requested by itself, and left out where that does not help, either.
        """
        listed: set[str] = set()

        def new(snapshots: list[JobSnapshot]) -> list[JobSnapshot]:
            fresh = {snapshot.id: snapshot for snapshot in snapshots if snapshot.id not in listed}
            listed.update(fresh)
            return [*fresh.values()]

        page = await self.jobs(ids=ids, status=status, size=size)
        yield new(await self._readable(page, status))
        read: set[str] = set()
        while page.next_path is not None and page.records:
            read.add(page.next_path)
            response = await self._get(page.next_path, lane="query")
            page = self._read_page(response)
            if page.next_path in read:
                response.reject("its next page has been read already")
            yield new(await self._readable(page, status))

    async def _readable(self, page: Page, status: JobStatus | None) -> list[JobSnapshot]:
        found: list[JobSnapshot] = []
        for record in page.records:
            job = record if isinstance(record, JobSnapshot) else await self._asked_singly(record)
            if job is not None and (job is record or status is None or job.status == status):
                found.append(job)
        return found

    async def _asked_singly(self, record: MalformedRecord) -> JobSnapshot | None:
        if record.id is None:
            return None
        try:
            response = await self._get(wire.job_path(record.id), lane="query", attempts=1)
            return self._read_job(record.id, response, None)
        except RequestFailedError as error:
            logger.info("job %s is left out of the list, since it cannot be read: %s", record.id, error)
            return None

    def _read_page(self, response: Response, known: Known | None = None) -> Page:
        self._extensions = response.extensions()
        cursor = response.cursor()
        read = partial(wire.job_records, cursor=cursor, known=known, note=self.note)
        records = response.parse(read, salvage=True)
        for record in records:
            if isinstance(record, JobSnapshot):
                self._note_status(record)
        return Page(records, response.next_page(), cursor)

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

    async def delete(self, job_id: str) -> None:
        """Delete a job that has ended; only where the platform ``offers`` it. Raises ConflictError if it has not ended."""
        response = await self._transport.send(Request(method="DELETE", path=wire.job_path(job_id)))
        response.reject_html()

    async def circuit(self, job_id: str) -> str:
        return (await self._get(wire.job_path(job_id, "/circuit"), lane="bulk")).parse(wire.circuit)

    async def devices(self) -> list[Device]:
        return (await self._get("/devices")).parse(partial(wire.devices, note=self.note), salvage=True)

    async def device(self, target: str) -> Device:
        response = await self._get(wire.device_path(target))
        device = response.parse(partial(wire.device, note=self.note))
        if device.target != target:
            response.reject(f"it is about another device, {device.target!r}")
        return device

    async def specification(self, target: str, *, is_strict: bool = False) -> DeviceSpecification:
        """Return the specification. With ``is_strict`` a field that cannot be read is a ProtocolError."""
        response = await self._get(wire.device_path(target, "/specifications"))
        return response.parse(partial(wire.specification, target=target, note=None if is_strict else self.note))

    async def certificate(self, target: str) -> Mapping[str, JSONValue] | None:
        """Return the certificate, or None where the platform has none. Version 0.2.0 of the protocol has no certificates."""
        if self._legacy:
            return None
        try:
            response = await self._get(wire.device_path(target, "/certificate"))
        except NotFoundError:
            return None
        return response.parse(partial(wire.certificate, note=self.note))

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
