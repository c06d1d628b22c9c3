"""Submit, list, show and cancel jobs, and return circuits and results. The jobs of other accounts do not exist."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from ....models import JobStatus
from ...errors import ApiError, invalid, not_found
from ...jobs.acceptance import Accepted, JobAcceptance
from ...jobs.change_feed import ChangePublisher
from ...jobs.cleaner import Cleaner
from ...jobs.fair_turns import FairTurns
from ...jobs.representation import compact_json, iso_time, job_object
from ...jobs.scheduler import Scheduler
from ...jobs.submission import IncomingSubmission, checked_key, parse_batch_item, parse_submission
from ...limits import Limits
from ...records import JobRecord
from ...results.interface import ResultStore
from ...store.interface import JobStore
from ..abort import until_gone
from ..budgets import Budget, HeldResponse, owner_of
from ..extensions import EXTENSIONS
from ..file_response import FilePart, file_response
from ..request_body import read_body
from ..responses import CompactJSONResponse, check_pieces, error_response, request_json

_MAX_BATCH_JOBS: Final = 100
_BATCH_MEDIA_TYPE: Final = "application/jobs+json"
_MAX_CANCEL_BYTES: Final = 16 << 10
_INLINE_HASH_BYTES: Final = 64 << 10  # the fingerprint of a larger body is made in a thread
_LARGE_BODY_BYTES: Final = 1 << 20
_PAUSE_FACTOR: Final = 3.0
"""After a large body was read, nothing like it is done for this many times as long."""

_DEFAULT_PAGE_JOBS: Final = 5
_MAX_PAGE_JOBS: Final = 100
_VERSION: Final = re.compile(r"(\d{1,6})\.(\d{1,6})")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRoutes:
    store: JobStore
    scheduler: Scheduler
    feed: ChangePublisher
    acceptance: JobAcceptance
    results: ResultStore
    cleaner: Cleaner
    limits: Limits
    downloads: Budget
    _large_bodies: FairTurns = field(default_factory=lambda: FairTurns(1), init=False)
    _batches: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(1), init=False)

    async def submit(self, request: Request) -> Response:
        """Submit one job, or a batch if the media type says so."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == _BATCH_MEDIA_TYPE:
            return await self._submit_batch(request)
        key = request.headers.get("idempotency-key")
        echo = {} if key is None else {"idempotency-key": checked_key(key, "Idempotency-Key")}
        # In JSON a line break or a quote takes two characters.
        limit, option = min((self.limits.body, "--max-body"), (2 * self.limits.circuit, "--max-program"))
        body = await read_body(request, limit, option, early_check=check_pieces)
        fields = await self._json(request, body)
        try:
            if key is None or len(body) <= _INLINE_HASH_BYTES:
                submission = parse_submission(fields, key)
            else:
                submission = await anyio.to_thread.run_sync(parse_submission, fields, key)
            accepted = await self.acceptance.accept(request.state.account, submission, until_gone=until_gone(request))
        except ApiError as error:
            response: Response = error_response(error)
            response.headers.update(echo)
            return response
        headers = {"location": f"/jobs/{accepted.job_id}", **self._offers(accepted.change), **echo}
        return Response(accepted.body, status_code=201, media_type="application/json", headers=headers)

    async def _json(self, request: Request, body: bytes) -> dict[str, Any]:
        """
        Return the JSON of a body. That of a large one takes tens of milliseconds, in which nothing else runs, so they are read in
        turns, with time for others between two.
        """
        if len(body) <= _LARGE_BODY_BYTES:
            return request_json(body, dict)
        async with self._large_bodies.turn(request.state.account):
            begun = anyio.current_time()
            try:
                return request_json(body, dict)
            finally:
                await anyio.sleep(_PAUSE_FACTOR * (anyio.current_time() - begun))

    async def _submit_batch(self, request: Request) -> Response:
        """Answer 207 with the outcome of each submission, in order."""
        body = await read_body(request, self.limits.body, "--max-body", early_check=check_pieces)
        submissions = await anyio.to_thread.run_sync(_parse_batch, body, limiter=self._batches)
        outcomes = await self.acceptance.accept_all(request.state.account, submissions, until_gone=until_gone(request))
        content = b'{"data":[%s]}' % b",".join(map(_batch_item, outcomes))
        changes = [outcome.change for outcome in outcomes if isinstance(outcome, Accepted)]
        # All new jobs were stored in one transaction. A response that is given again may be old.
        change = max(filter(None, changes), default=None) if all(changes) else None
        return Response(content, status_code=207, media_type="application/json", headers=self._offers(change))

    async def list_jobs(self, request: Request) -> Response:
        """List jobs, newest first. ``Link: rel="next"`` (RFC 8288) offers the next page, which is stable under new jobs."""
        query, change = _ListQuery(request), self.feed.newest(request.state.account)
        before = None
        if query.before is not None:
            before = self.store.sequence(request.state.account, query.before)
            if before is None:
                raise invalid({"before": ["There is no such job."]})
        records = self.store.jobs(
            request.state.account, size=query.size + 1, ids=query.ids, statuses=query.statuses, before=before
        )
        page = records[: query.size]
        headers = self._offers(change)
        if len(records) > query.size:
            headers["link"] = f'<{query.next_page(page[-1].id)}>; rel="next", {headers["link"]}'
        return CompactJSONResponse({"data": [self._shown(record) for record in page]}, headers=headers)

    async def get_job(self, request: Request) -> Response:
        change = self.feed.newest(request.state.account)
        return CompactJSONResponse(self._shown(self._job(request)), headers=self._offers(change))

    async def cancel(self, request: Request) -> Response:
        """Cancel a job, the only change that a client can make."""
        body = request_json(await read_body(request, _MAX_CANCEL_BYTES), dict)
        if unknown := {name: ["Unknown field."] for name in body if name != "status"}:
            raise invalid(unknown)
        if body.get("status") != JobStatus.CANCELLED:
            raise invalid({"status": ["Must be one of: cancelled."]})
        if await self.scheduler.cancel(request.state.account, self._job(request).id) is None:
            job = self._job(request)
            detail = f"Job {job.id} cannot be cancelled: it is {job.status.value}."
            raise ApiError(409, "invalid-job-operation", detail)
        return Response(status_code=204)

    async def delete(self, request: Request) -> Response:
        """Delete a job that has ended, with its program and its result."""
        job = self._job(request)  # without a write: ids of others must cost as much as unknown ones
        if await self.cleaner.delete(request.state.account, job.id) is None:
            job = self._job(request)
            detail = f"Job {job.id} cannot be deleted: it is {job.status.value}. Cancel it first, or wait until it has ended."
            raise ApiError(409, "invalid-job-operation", detail)
        return Response(status_code=204)

    async def circuit(self, request: Request) -> Response:
        return CompactJSONResponse({"circuit": self.store.circuit(self._job(request).id)})

    async def result(self, request: Request) -> Response:
        """
        Return a result. One file serves both formats: the ``.npz`` as a whole, the ``.npy`` as a range of its bytes. Clients
        since protocol 0.4 get the archive unless they accept ``application/x-numpy``.
        """
        record = self._job(request)
        stored = record.result
        if record.result_deleted is not None:
            deleted = iso_time(record.result_deleted)
            detail = f"The result of job {record.id} was deleted at {deleted}: the platform keeps results for a limited time."
            raise ApiError(410, "result-deleted", detail)
        if stored is None:
            raise not_found(f"Job {record.id} has no result: it is {record.status.value}.")
        path, size = self.results.path(stored), stored.size
        if not path.is_file():
            detail = (
                f"The result of job {record.id} is missing on the platform: tell its operator, or submit the job again."
            )
            raise ApiError(410, "result-missing", detail)
        if _wants_npy(request):
            part = FilePart(path, size, stored.npy_offset, stored.npy_size, stored.npy_digest, "application/x-numpy")
        else:
            part = FilePart(path, size, 0, size, stored.digest, "application/zip")
        response = file_response(request, part, {"vary": "accept, accept-version", "cache-control": "private"})
        return HeldResponse(response, self.downloads, owner_of(request))

    def _offers(self, change: int | None) -> dict[str, str]:
        """Return the headers that offer extensions of the protocol, for a response that reflects everything up to ``change``."""
        accept = f"application/json, {_BATCH_MEDIA_TYPE}"
        return {"link": self.feed.link(change), "accept-post": accept, **EXTENSIONS}

    def _job(self, request: Request) -> JobRecord:
        job_id = request.path_params["id"]
        record = self.store.job(job_id, account=request.state.account)
        if record is None:
            raise not_found(f"There is no job '{job_id}'.")
        return record

    def _shown(self, record: JobRecord) -> dict[str, object]:
        return job_object(record, self.scheduler.position(record), self.scheduler.reason(record))


def _parse_batch(body: bytes) -> list[IncomingSubmission | ApiError]:
    items = request_json(body, list)
    if len(items) > _MAX_BATCH_JOBS:
        raise invalid({"_schema": [f"Longer than maximum length {_MAX_BATCH_JOBS}."]})
    return [parse_batch_item(item) for item in items]


def _batch_item(outcome: Accepted | ApiError) -> bytes:
    if isinstance(outcome, Accepted):
        return b'{"status":201,"job":%s}' % outcome.body
    return compact_json({"status": outcome.status_code, "error": outcome.content()})


class _ListQuery:
    """The checked parameters of ``GET /jobs``. ``before`` is the id of the last job of the previous page."""

    def __init__(self, request: Request) -> None:
        query = request.query_params
        self._items = [(name, value) for name, value in query.multi_items() if name != "before"]
        self.ids = [text.lower() for text in query.getlist("id")]
        self.statuses = query.getlist("status")
        self.before = query.get("before")
        errors: dict[str, list[str] | dict[str, list[str]]] = {}
        if bad_ids := {str(index): ["Not a valid UUID."] for index, text in enumerate(self.ids) if not _is_uuid(text)}:
            errors["id"] = bad_ids
        elif len(self.ids) > _MAX_PAGE_JOBS:
            errors["id"] = [f"Longer than maximum length {_MAX_PAGE_JOBS}."]
        if not set(self.statuses) <= set(JobStatus):
            errors["status"] = [f"Must be one of: {', '.join(JobStatus)}."]
        default = min(max(_DEFAULT_PAGE_JOBS, len(self.ids)), _MAX_PAGE_JOBS)
        size = query.get("size", str(default))
        self.size = int(size) if re.fullmatch(r"[0-9]{1,9}", size) else -1
        if self.size < 0:
            errors["size"] = ["Not a valid integer."]
        elif not 1 <= self.size <= _MAX_PAGE_JOBS:
            errors["size"] = [f"Must be greater than or equal to 1 and less than or equal to {_MAX_PAGE_JOBS}."]
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
