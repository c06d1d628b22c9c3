"""Jobs: take them, show them, cancel them, and hand out circuits and results. Another account's job does not exist."""

from __future__ import annotations

import re
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from ....models import JobStatus
from ...errors import ApiError, invalid, not_found
from ...jobs.acceptance import Accepted, IncomingSubmission, JobAcceptance, checked_key
from ...jobs.change_feed import ChangePublisher
from ...jobs.representation import compact_json, job_object
from ...jobs.scheduler import Scheduler
from ...limits import Limits
from ...records import JobRecord
from ...store.jobs import Store
from ..file_response import FilePart, file_answer
from ..request_body import read_body
from ..responses import (
    CompactJSONResponse,
    error_response,
    request_list,
    request_object,
)

_LONGEST_BATCH: Final = 100
_BATCH: Final = "application/jobs+json"
_LARGEST_CHANGE: Final = 16 << 10
_DEFAULT_SIZE: Final = 5
_LARGEST_SIZE: Final = 100
_VERSION: Final = re.compile(r"(\d{1,6})\.(\d{1,6})")


class JobRoutes:
    def __init__(
        self,
        *,
        store: Store,
        scheduler: Scheduler,
        feed: ChangePublisher,
        intake: JobAcceptance,
        results: Path,
        limits: Limits,
    ) -> None:
        self._store = store
        self._scheduler = scheduler
        self._feed = feed
        self._intake = intake
        self._batches = anyio.CapacityLimiter(1)
        self._results = results
        self._largest_batch = limits.body
        # In JSON a line break is two characters, a quote as well.
        self._largest_submission = min(limits.body, 2 * limits.circuit)

    async def submit(self, request: Request) -> Response:
        """One job, or a batch if the media type says so; see ``intake`` for ``Idempotency-Key``."""
        if _media_type(request) == _BATCH:
            return await self._submit_batch(request)
        key = request.headers.get("idempotency-key")
        echo = {} if key is None else {"idempotency-key": checked_key(key, "Idempotency-Key")}
        order = IncomingSubmission(request_object(await read_body(request, self._largest_submission)), key)
        try:
            accepted = await self._intake.take(request.state.account, order)
        except ApiError as error:
            answer: Response = error_response(error)
            answer.headers.update(echo)
            return answer
        headers = {"location": f"/jobs/{accepted.job_id}", **self._offers(accepted.change), **echo}
        return Response(accepted.body, status_code=201, media_type="application/json", headers=headers)

    async def _submit_batch(self, request: Request) -> Response:
        """207: what became of each, in order, each by itself."""
        body = await read_body(request, self._largest_batch)
        items = await anyio.to_thread.run_sync(request_list, body, _LONGEST_BATCH, limiter=self._batches)
        outcomes = await self._intake.take_all(request.state.account, [_order(item) for item in items])
        content = b'{"data":[%s]}' % b",".join(_batch_item(outcome) for outcome in outcomes)
        changes = [outcome.change for outcome in outcomes if isinstance(outcome, Accepted)]
        # One transaction wrote all that are new; what an answer that is given again says, may be old.
        change = max(filter(None, changes), default=None) if all(changes) else None
        return Response(content, status_code=207, media_type="application/json", headers=self._offers(change))

    async def every(self, request: Request) -> Response:
        """Newest first. A further page is offered by ``Link: rel="next"`` (RFC 8288) and is stable under new jobs."""
        query, change = _ListQuery(request), self._feed.newest()
        before = None
        if query.before is not None:
            last = self._store.job(query.before, account=request.state.account)
            if last is None:
                raise invalid({"before": ["There is no such job."]})
            before = last.sequence
        records = self._store.jobs(
            request.state.account, size=query.size + 1, ids=query.ids, statuses=query.statuses, before=before
        )
        page = records[: query.size]
        headers = self._offers(change)
        if len(records) > query.size:
            headers["link"] = f'<{query.next_page(page[-1].id)}>; rel="next", {headers["link"]}'
        return CompactJSONResponse({"data": [self._shown(record) for record in page]}, headers=headers)

    async def one(self, request: Request) -> Response:
        change = self._feed.newest()
        return CompactJSONResponse(self._shown(self._job(request)), headers=self._offers(change))

    async def change(self, request: Request) -> Response:
        """The only change there is: to cancel."""
        body = request_object(await read_body(request, _LARGEST_CHANGE))
        if unknown := {name: ["Unknown field."] for name in body if name != "status"}:
            raise invalid(unknown)
        if body.get("status") != JobStatus.CANCELLED:
            raise invalid({"status": ["Must be one of: cancelled."]})
        record = await self._scheduler.cancel(request.state.account, self._job(request).id)
        if record is None:
            raise self._too_late(request)
        return Response(status_code=204)

    async def circuit(self, request: Request) -> Response:
        return CompactJSONResponse({"circuit": self._store.circuit(self._job(request).id)})

    async def result(self, request: Request) -> Response:
        """
        One file answers both formats: the ``.npz`` as it is, the ``.npy`` as the part of its bytes that is the array. Clients
        since protocol 0.4 get the archive unless they ask for the array.
        """
        record = self._job(request)
        stored = record.result
        if stored is None:
            raise not_found(f"Job {record.id} has no result: it is {record.status.value}.")
        whole = FilePart(
            path=self._results / stored.name,
            file_size=stored.size,
            offset=0,
            size=stored.size,
            digest=stored.digest,
            media_type="application/zip",
        )
        array = replace(
            whole,
            offset=stored.npy_offset,
            size=stored.npy_size,
            digest=stored.npy_digest,
            media_type="application/x-numpy",
        )
        headers = {"vary": "accept, accept-version", "cache-control": "private"}
        return file_answer(request, array if _wants_npy(request) else whole, headers)

    def _offers(self, change: int | None) -> dict[str, str]:
        """The extensions of the protocol, by an answer that reflects everything up to ``change``."""
        return {"link": self._feed.link(change), "accept-post": f"application/json, {_BATCH}"}

    def _job(self, request: Request) -> JobRecord:
        job_id = request.path_params["id"]
        record = self._store.job(job_id, account=request.state.account)
        if record is None:
            raise not_found(f"There is no job '{job_id}'.")
        return record

    def _shown(self, record: JobRecord) -> dict[str, object]:
        return job_object(record, self._scheduler.position(record))

    def _too_late(self, request: Request) -> ApiError:
        record = self._job(request)
        return ApiError(
            409, "invalid-job-operation", f"Job {record.id} cannot be cancelled: it is {record.status.value}."
        )


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _order(item: object) -> IncomingSubmission | ApiError:
    """One item of a batch: the job's fields, and its key among them."""
    if not isinstance(item, dict):
        return invalid({"_schema": ["Invalid input type."]})
    fields = dict(item)
    key = fields.pop("idempotency_key", None)
    try:
        return IncomingSubmission(fields, None if key is None else checked_key(key, "idempotency_key"))
    except ApiError as error:
        return error


def _batch_item(outcome: Accepted | ApiError) -> bytes:
    if isinstance(outcome, Accepted):
        return b'{"status":201,"job":%s}' % outcome.body
    return compact_json({"status": outcome.status_code, "error": outcome.content()})


class _ListQuery:
    """The parameters of ``GET /jobs``, checked. ``before`` is the id of the last job of the page before."""

    def __init__(self, request: Request) -> None:
        query = request.query_params
        self._items = [(name, value) for name, value in query.multi_items() if name != "before"]
        self.ids = [text.lower() for text in query.getlist("id")]
        self.statuses = query.getlist("status")
        self.before = query.get("before")
        errors: dict[str, list[str] | dict[str, list[str]]] = {}
        if bad_ids := {str(index): ["Not a valid UUID."] for index, text in enumerate(self.ids) if not _is_uuid(text)}:
            errors["id"] = bad_ids
        elif len(self.ids) > _LARGEST_SIZE:
            errors["id"] = [f"Longer than maximum length {_LARGEST_SIZE}."]
        if not set(self.statuses) <= set(JobStatus):
            errors["status"] = [f"Must be one of: {', '.join(JobStatus)}."]
        default = min(max(_DEFAULT_SIZE, len(self.ids)), _LARGEST_SIZE)
        size = query.get("size", str(default))
        self.size = int(size) if re.fullmatch(r"[0-9]{1,9}", size) else -1
        if self.size < 0:
            errors["size"] = ["Not a valid integer."]
        elif not 1 <= self.size <= _LARGEST_SIZE:
            errors["size"] = [f"Must be greater than or equal to 1 and less than or equal to {_LARGEST_SIZE}."]
        if errors:
            raise invalid(errors)

    def next_page(self, last_id: str) -> str:
        return "/jobs?" + urlencode([*self._items, ("before", last_id)])


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _wants_npy(request: Request) -> bool:
    if "application/x-numpy" in request.headers.get("accept", ""):
        return True
    version = _VERSION.match(request.headers.get("accept-version", ""))
    return version is None or (int(version[1]), int(version[2])) < (0, 4)
