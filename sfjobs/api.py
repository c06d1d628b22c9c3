"""
The platform's endpoints as typed coroutines, in the version that the settings name. Speaks
in models; holds no state but what the platform has shown of itself.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING

from . import wire
from .config import Settings
from .errors import ResponseError
from .exchange import Answer, Request
from .models import Device, DeviceSpecification, JobSnapshot, JobStatus, JSONValue
from .transport import Transport

if TYPE_CHECKING:
    from .results import Result

logger = logging.getLogger("sfjobs")

LONGEST_QUERY = 6000
"""Characters of ids in one list request: 100 UUIDs make 4 036, and common limits on a whole URL are 8 192."""

LARGEST_PAGE = 100

_words_reported: set[str] = set()


class PlatformAPI:
    """Every question that the client puts to a platform; ``submitting`` brings it jobs."""

    def __init__(self, settings: Settings, transport: Transport) -> None:
        self._settings = settings
        self._transport = transport
        self._legacy = settings.api_version == "0.2.0"

    @property
    def settings(self) -> Settings:
        return self._settings

    async def ping(self) -> None:
        """Returns when the platform answers and accepts the credentials."""
        await self._transport.send(Request(method="GET", path="/healthz", lane="poll", expect=frozenset({200})))

    async def job(self, job_id: str, *, attempts: int | None = None) -> JobSnapshot:
        """The job as it stands. ``attempts=1`` leaves the repeating to the caller."""
        answer = await self._transport.send(
            Request(method="GET", path=wire.job_path(job_id), lane="poll", attempts=attempts, expect=frozenset({200}))
        )
        snapshot = reported(answer.parse(wire.job_snapshot))
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
    ) -> tuple[list[JobSnapshot], str | None]:
        """One page of jobs, newest first, and the path of the next one. No ``ids`` means no filter."""
        params = [("size", str(size if size is not None else max(len(ids), 1)))]
        params += [("id", job_id) for job_id in ids]
        params += [] if status is None else [("status", status.value)]
        return self._read_page(await self._transport.send(_list_request("/jobs", params, attempts)))

    async def job_pages(
        self, *, ids: Sequence[str] = (), status: JobStatus | None = None, size: int
    ) -> AsyncGenerator[list[JobSnapshot], None]:
        """Page after page of jobs, newest first, each asked for when it is wanted."""
        snapshots, page = await self.jobs(ids=ids, status=status, size=size)
        yield snapshots
        read: set[str] = set()
        while page is not None and snapshots:
            read.add(page)
            answer = await self._transport.send(_list_request(page))
            snapshots, page = self._read_page(answer)
            if page in read:
                answer.refuse("its next page is one that has been read already")
            yield snapshots

    def _read_page(self, answer: Answer) -> tuple[list[JobSnapshot], str | None]:
        return [reported(snapshot) for snapshot in answer.parse(wire.job_snapshots)], answer.next_page()

    async def cancel(self, job_id: str) -> None:
        """Asks for the job to be cancelled. ConflictError when it has ended already."""
        await self._transport.send(
            Request.with_json(
                "PATCH",
                wire.job_path(job_id),
                wire.CANCELLATION,
                expect=frozenset({204}) if self._legacy else None,
            )
        )

    async def circuit(self, job_id: str) -> str:
        answer = await self._transport.send(
            Request(method="GET", path=wire.job_path(job_id, "/circuit"), expect=frozenset({200}))
        )
        return answer.parse(wire.circuit)

    async def result(self, job_id: str, *, max_bytes: int | None = None) -> Result:
        """The result, streamed into arrays. Raises ResultError or one of its kinds for a body that is not one."""
        from .results import decode  # numpy is loaded when the first result is

        limit = self._settings.max_result_bytes if max_bytes is None else max_bytes

        async def consume(answer: Answer, chunks: AsyncIterator[bytes]) -> Result:
            length = answer.headers.get("content-length", "")
            return await decode(
                chunks,
                declared_length=int(length) if length.isascii() and length.isdigit() else None,
                max_bytes=limit,
                job_id=job_id,
                url=answer.url,
            )

        headers = {"Accept": "application/x-numpy"} if self._legacy else {}
        request = Request(method="GET", path=wire.job_path(job_id, "/result"), headers=headers, expect=frozenset({200}))
        return await self._transport.receive(request, consume)

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


class JobInquirer:
    """
    How the poller asks: by lists of up to 100 ids and, on platforms that show no list, about one job at a time. It never
    repeats a request by itself, because the poller has a cadence and a backoff of its own.
    """

    def __init__(self, api: PlatformAPI) -> None:
        self._api = api
        self._has_list = api.settings.api_version != "0.2.0"

    @property
    def batch(self) -> int:
        return LARGEST_PAGE if self._has_list else 1

    async def ask(self, ids: Sequence[str]) -> Mapping[str, JobSnapshot]:
        if not self._has_list:
            return {ids[0]: await self.ask_one(ids[0])} if len(ids) == 1 else {}
        try:
            snapshots = [
                snapshot for part in _fitting(ids) for snapshot in (await self._api.jobs(ids=part, attempts=1))[0]
            ]
        except ResponseError as error:
            if error.status_code not in (404, 405, 501):
                raise
            logger.info("the platform shows no list of jobs (%d): asking about each one by itself", error.status_code)
            self._has_list = False
            return {}
        return {snapshot.id: snapshot for snapshot in snapshots}

    async def ask_one(self, job_id: str) -> JobSnapshot:
        return await self._api.job(job_id, attempts=1)


def _list_request(path: str, params: Sequence[tuple[str, str]] = (), attempts: int | None = None) -> Request:
    return Request(method="GET", path=path, params=params, lane="poll", attempts=attempts, expect=frozenset({200}))


def _fitting(ids: Sequence[str]) -> list[list[str]]:
    """The ids in as few parts as fit a URL each."""
    parts: list[list[str]] = [[]]
    room = LONGEST_QUERY
    for job_id in ids:
        room -= len(job_id) + len("&id=")
        if room < 0 and parts[-1]:
            parts.append([])
            room = LONGEST_QUERY - len(job_id) - len("&id=")
        parts[-1].append(job_id)
    return parts


def reported(snapshot: JobSnapshot) -> JobSnapshot:
    """The snapshot as it is. A status that sfjobs does not know goes to the log, once a process."""
    word = snapshot.status
    if not word.is_known and word not in _words_reported and len(_words_reported) < 100:
        _words_reported.add(word)
        logger.warning("job %s has the status %r, which sfjobs does not know: waiting on", snapshot.id, word.value)
    return snapshot
