"""
The platform's endpoints as typed coroutines, in the version that the settings name. Speaks
in models; holds no state but what the platform has shown of itself.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from .._protocol import wire
from .._protocol.wire import Known
from ..config import Settings
from ..models import Cursor, Device, DeviceSpecification, JobSnapshot, JobStatus, JSONValue
from .download import Downloading
from .messages import ByteStream, Request, Response
from .rate_limiter import RateLimit
from .transport import Transport

if TYPE_CHECKING:
    from ..results import Result
    from ..results.download.fetcher import Into, ResultFetcher

logger = logging.getLogger("sfjobs")

LARGEST_PAGE = 100

_words_reported: set[str] = set()


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a list's jobs, the path of its next page, and where in the change feed the answer stands."""

    snapshots: list[JobSnapshot]
    following: str | None
    cursor: Cursor | None


class PlatformAPI:
    """Every question that the client puts to a platform; ``submitting`` brings it jobs."""

    def __init__(self, settings: Settings, transport: Transport) -> None:
        self._settings = settings
        self._transport = transport
        self._results: ResultFetcher | None = None
        self._legacy = settings.api_version == "0.2.0"

    @property
    def settings(self) -> Settings:
        return self._settings

    @property
    def pace(self) -> RateLimit:
        """What holds requests back now."""
        return self._transport.pace

    async def ping(self) -> None:
        """Returns when the platform answers and accepts the credentials."""
        await self._transport.send(Request(method="GET", path="/healthz", lane="poll", expect=frozenset({200})))

    async def job(self, job_id: str, *, attempts: int | None = None, known: Known | None = None) -> JobSnapshot:
        """The job as it stands. ``attempts=1`` leaves the repeating to the caller; ``known`` is as for ``jobs``."""
        answer = await self._transport.send(
            Request(method="GET", path=wire.job_path(job_id), lane="poll", attempts=attempts, expect=frozenset({200}))
        )
        snapshot = reported(answer.parse(partial(wire.job_snapshot, cursor=answer.cursor(), known=known)))
        if snapshot.id != job_id:
            answer.refuse(f"it is about another job, {snapshot.id!r}")
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
        """One page of jobs, newest first. No ``ids`` means no filter; what is ``known`` and as it was, comes back itself."""
        params = [("size", str(size if size is not None else max(len(ids), 1)))]
        params += [("id", job_id) for job_id in ids]
        params += [] if status is None else [("status", status.value)]
        return self._read_page(await self._transport.send(_list_request("/jobs", params, attempts)), known)

    async def job_pages(
        self, *, ids: Sequence[str] = (), status: JobStatus | None = None, size: int
    ) -> AsyncGenerator[list[JobSnapshot], None]:
        """Page after page of jobs, newest first, each asked for when it is wanted."""
        page = await self.jobs(ids=ids, status=status, size=size)
        yield page.snapshots
        read: set[str] = set()
        while page.following is not None and page.snapshots:
            read.add(page.following)
            answer = await self._transport.send(_list_request(page.following))
            page = self._read_page(answer)
            if page.following in read:
                answer.refuse("its next page is one that has been read already")
            yield page.snapshots

    def _read_page(self, answer: Response, known: Known | None = None) -> Page:
        cursor = answer.cursor()
        snapshots = answer.parse(partial(wire.job_snapshots, cursor=cursor, known=known))
        return Page([reported(snapshot) for snapshot in snapshots], answer.next_page(), cursor)

    async def changes(self, path: str, last_event_id: str | None) -> ByteStream:
        """Opens the stream of the change feed that a link led to: all that happens after the last event, or the link."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        request = Request(method="GET", path=path, headers=headers, lane="poll", attempts=1, expect=frozenset({200}))
        return await self._transport.open(request)

    async def cancel(self, job_id: str) -> None:
        """Asks for the job to be cancelled. ConflictError when it has ended already."""
        answer = await self._transport.send(
            Request.with_json(
                "PATCH",
                wire.job_path(job_id),
                wire.CANCELLATION,
                expect=frozenset({204}) if self._legacy else None,
            )
        )
        answer.refuse_page()

    async def circuit(self, job_id: str) -> str:
        answer = await self._transport.send(
            Request(method="GET", path=wire.job_path(job_id, "/circuit"), expect=frozenset({200}))
        )
        return answer.parse(wire.circuit)

    async def result(self, job_id: str, *, into: Into | None = None, mmap: bool = False) -> Result:
        """The result, as ``Job.fetch_result`` describes it."""
        return await self._fetching().fetch(job_id, into=into, mmap=mmap)

    def open_result(self, job_id: str) -> Downloading:
        """``async with`` the body of the result as a Download."""
        return self._fetching().open(job_id)

    def _fetching(self) -> ResultFetcher:
        if self._results is None:
            from ..results.download.fetcher import ResultFetcher

            self._results = ResultFetcher(self._settings, self._transport)
        return self._results

    async def devices(self) -> list[Device]:
        return (await self._transport.send(Request(method="GET", path="/devices", expect=frozenset({200})))).parse(
            wire.devices
        )

    async def device(self, target: str) -> Device:
        answer = await self._transport.send(
            Request(method="GET", path=wire.device_path(target), expect=frozenset({200}))
        )
        device = answer.parse(wire.device)
        if device.target != target:
            answer.refuse(f"it is about another device, {device.target!r}")
        return device

    async def specification(self, target: str) -> DeviceSpecification:
        answer = await self._transport.send(
            Request(method="GET", path=wire.device_path(target, "/specifications"), expect=frozenset({200}))
        )
        return answer.parse(lambda body: wire.specification(body, target=target))

    async def certificate(self, target: str) -> Mapping[str, JSONValue]:
        answer = await self._transport.send(
            Request(method="GET", path=wire.device_path(target, "/certificate"), expect=frozenset({200}))
        )
        return answer.parse(wire.certificate)


def _list_request(path: str, params: Sequence[tuple[str, str]] = (), attempts: int | None = None) -> Request:
    return Request(method="GET", path=path, params=params, lane="poll", attempts=attempts, expect=frozenset({200}))


def reported(snapshot: JobSnapshot) -> JobSnapshot:
    """The snapshot as it is. A status that sfjobs does not know goes to the log, once a process."""
    word = snapshot.status
    if not word.is_known and word not in _words_reported and len(_words_reported) < 100:
        _words_reported.add(word)
        logger.warning("job %s has the status %r, which sfjobs does not know: waiting on", snapshot.id, word.value)
    return snapshot
