"""
A scripted platform in memory, for logic in virtual time: jobs end when told, answers take as long as told, and every request
is counted. It shares nothing with the real one but the protocol.
"""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import anyio
import httpx
import numpy as np

import sfjobs

KEY = "a-key-that-must-never-be-seen"
URL = "http://platform.test:8080"
FINAL = ("complete", "failed", "cancelled")


def npz(*arrays: np.ndarray, **named: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, *arrays, **named)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


SAMPLES = np.array([[0, 1], [1, 0], [0, 1]], dtype=np.uint8)


@dataclass
class FakeJob:
    """``ends_at`` is in the loop's own time; ``outcome`` is the status from then on."""

    id: str
    ends_at: float = float("inf")
    outcome: str = "complete"
    status: str = "queued"
    meta: dict[str, Any] = field(default_factory=dict)
    name: str | None = None
    target: str | None = "simulon_gaussian"
    circuit: str = ""
    created_at: str = "2026-01-27T15:15:25.801308Z"

    def now(self) -> str:
        if self.status not in FINAL and anyio.current_time() >= self.ends_at:
            self.status = self.outcome
        return self.status

    def json(self) -> dict[str, Any]:
        done = self.now() in FINAL
        return {
            "id": self.id,
            "name": self.name,
            "status": self.now(),
            "target": self.target,
            "language": "blackbird:1.0",
            "created_at": self.created_at,
            "started_at": "2026-01-27T15:15:26.000000Z" if done else None,
            "finished_at": "2026-01-27T15:15:27.000000Z" if done else None,
            "running_time": 0.5 if done else None,
            "meta": self.meta,
        }


Handler = Callable[[httpx.Request], Awaitable[httpx.Response | None]]


BATCH = "application/jobs+json"


class FakePlatform:
    """
    ``trouble`` may answer any request first; ``latency`` is in seconds. ``offers_batches``, ``honours_keys`` and
    ``offers_ranges`` are the extensions of the protocol that it has. Each answer with a result breaks off after the next one of
    ``cuts``, in bytes, and waits for ``drip`` seconds before each of its pieces; ``body_bytes`` of results have been sent.
    """

    def __init__(
        self,
        *,
        latency: float = 0.0,
        token_lifetime: float | None = 300,
        offers_batches: bool = False,
        honours_keys: bool = False,
    ) -> None:
        self.latency = latency
        self.offers_batches = offers_batches
        self.honours_keys = honours_keys
        self.offers_deletion = False
        self.offers_priorities = False
        self.by_key: dict[str, FakeJob] = {}
        self.token_lifetime = token_lifetime
        self.jobs: dict[str, FakeJob] = {}
        self.requests: list[httpx.Request] = []
        self.times: list[float] = []
        self.trouble: Handler | None = None
        self.result = npz(SAMPLES)
        self.result_headers: dict[str, str] = {}
        self.offers_ranges = False
        self.cuts: list[int] = []
        self.drip = 0.0
        self.body_bytes = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.valid_tokens: set[str] = set()
        self.keys = {KEY}
        self.submit_status = 201
        self.cancel_status = 204
        self.cancelling = 1.0
        self._numbers = itertools.count(1)

    # -- what tests look at --

    def count(self, method: str, path: str) -> int:
        return sum(request.method == method and request.url.path == path for request in self.requests)

    @property
    def token_requests(self) -> int:
        return sum(request.url.path.endswith("/token") for request in self.requests)

    @property
    def polls(self) -> list[httpx.Request]:
        return [request for request in self.requests if request.method == "GET" and request.url.path == "/jobs"]

    @property
    def submissions(self) -> list[httpx.Request]:
        return [request for request in self.requests if request.method == "POST" and request.url.path == "/jobs"]

    @property
    def batches(self) -> list[list[dict[str, Any]]]:
        return [json.loads(request.content) for request in self.submissions if is_batch(request)]

    def times_of(self, path: str) -> list[float]:
        return [when for request, when in zip(self.requests, self.times, strict=True) if request.url.path == path]

    # -- what tests set up --

    def add(self, **fields: Any) -> FakeJob:
        job = FakeJob(id=fields.pop("id", None) or str(uuid.UUID(int=next(self._numbers))), **fields)
        self.jobs[job.id] = job
        return job

    def revoke_tokens(self) -> None:
        self.valid_tokens.clear()

    def settings(self, **changes: Any) -> sfjobs.Settings:
        return sfjobs.Settings(**{"url": URL, "api_key": KEY, **changes})

    def connection(self, **changes: Any) -> sfjobs.Connection:
        return sfjobs.Connection(settings=self.settings(**changes), transport=httpx.MockTransport(self.handle))

    # -- the platform itself --

    async def handle(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.requests.append(request)
        self.times.append(anyio.current_time())
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await anyio.sleep(self.latency)
            answer = None if self.trouble is None else await self.trouble(request)
            answer = self._answer(request) if answer is None else answer
            answer.headers.update(self._offers(request) if request.url.path == "/jobs" and answer.is_success else {})
            return answer
        finally:
            self.in_flight -= 1

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path.endswith("/openid-connect/token"):
            return self._token(request)
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.valid_tokens:
            return refusal(401, "unauthenticated", "who are you?")
        if path == "/healthz":
            return httpx.Response(200)
        if path == "/jobs":
            return self._submit(request) if request.method == "POST" else self._list(request)
        _, kind, name, *tail = path.split("/")
        if kind == "devices":
            return self._device(name, tail)
        job = self.jobs.get(name)
        if job is None:
            return refusal(404, "not-found", f"no job {name}")
        if request.method == "PATCH":
            return self._cancel(job)
        if request.method == "DELETE":
            return self._delete(job)
        if tail == ["circuit"]:
            return httpx.Response(200, json={"circuit": job.circuit})
        if tail == ["result"]:
            if job.now() != "complete":
                return refusal(404, "not-found", f"the job is {job.status}")
            return self._result(request)
        return httpx.Response(200, json=job.json())

    def _token(self, request: httpx.Request) -> httpx.Response:
        form = parse_qs(request.content.decode())
        if form.get("refresh_token") not in [[key] for key in self.keys]:
            return httpx.Response(400, json={"error": "invalid_grant"})
        token = f"token-{next(self._numbers)}-that-must-never-be-seen"
        self.valid_tokens.add(token)
        lifetime = {} if self.token_lifetime is None else {"expires_in": self.token_lifetime}
        return httpx.Response(200, json={"access_token": token, **lifetime})

    def _offers(self, request: httpx.Request) -> dict[str, str]:
        offers = {"accept-post": f"application/json, {BATCH}"} if self.offers_batches else {}
        named = ["delete"] * self.offers_deletion + ["priority"] * self.offers_priorities
        if named:
            offers["sfjobs-extensions"] = ", ".join(named)
        key = request.headers.get("idempotency-key") if self.honours_keys else None
        return offers if key is None else {**offers, "idempotency-key": key}

    def _submit(self, request: httpx.Request) -> httpx.Response:
        if is_batch(request):
            items = [{"status": 201, "job": self.take(fields).json()} for fields in json.loads(request.content)]
            return httpx.Response(207, json={"data": items})
        fields = {"idempotency_key": request.headers.get("idempotency-key"), **json.loads(request.content)}
        return httpx.Response(self.submit_status, json=self.take(fields).json())

    def take(self, fields: dict[str, Any], **more: Any) -> FakeJob:
        """The job of a submission: where keys are honoured, the one that its key has already."""
        key = fields.get("idempotency_key")
        if self.honours_keys and key in self.by_key:
            return self.by_key[key]
        told = {"name": fields.get("name"), "target": fields.get("target"), "circuit": fields["circuit"]}
        job = self.add(**{**told, "status": "open", **more})
        if key is not None:
            self.by_key[key] = job
        return job

    def _list(self, request: httpx.Request) -> httpx.Response:
        ids = request.url.params.get_list("id")
        status = request.url.params.get("status")
        size = int(request.url.params.get("size", 5))
        after = int(request.url.params.get("after", 0))
        found = [self.jobs[job_id] for job_id in ids if job_id in self.jobs] if ids else [*self.jobs.values()][::-1]
        found = [job for job in found if status is None or job.now() == status]
        headers = {}
        if len(found) > after + size:
            headers["link"] = f'<{URL}/jobs?size={size}&after={after + size}>; rel="next"'
        return httpx.Response(200, json={"data": [job.json() for job in found[after : after + size]]}, headers=headers)

    def _result(self, request: httpx.Request) -> httpx.Response:
        body, status, headers = self.result, 200, dict(self.result_headers)
        if self.offers_ranges:
            digest = hashlib.sha256(body).digest()
            etag = f'"{digest.hex()[:16]}"'
            digest_field = f"sha-256=:{base64.b64encode(digest).decode()}:"
            headers = {"accept-ranges": "bytes", "etag": etag, "repr-digest": digest_field, **headers}
            if request.headers.get("if-none-match") == headers["etag"]:
                return httpx.Response(304, headers={"etag": headers["etag"]})
            wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
            if wanted and request.headers.get("if-range") == headers["etag"]:
                start = int(wanted[1])
                status, headers["content-range"] = 206, f"bytes {start}-{len(body) - 1}/{len(body)}"
                body = body[start:]
        cut = self.cuts.pop(0) if self.cuts else len(body) + 1
        return httpx.Response(
            status, headers={"content-length": str(len(body)), **headers}, stream=_Dripping(self, body, cut)
        )

    def _cancel(self, job: FakeJob) -> httpx.Response:
        if job.now() in FINAL:
            return refusal(409, "invalid-job-operation", f"the job is {job.status}")
        job.status = "cancel_pending"
        job.outcome = "cancelled"
        job.ends_at = anyio.current_time() + self.cancelling
        return httpx.Response(self.cancel_status)

    def _delete(self, job: FakeJob) -> httpx.Response:
        assert self.offers_deletion
        if job.now() not in FINAL:
            return refusal(409, "invalid-job-operation", f"the job is {job.status}")
        del self.jobs[job.id]
        return httpx.Response(204)

    def _device(self, name: str, tail: list[str]) -> httpx.Response:
        if not name or name == "unknown":
            return refusal(404, "not-found", "no such device")
        if tail == ["specifications"]:
            return httpx.Response(
                200, json={"target": name, "layout": "", "modes": 8, "compiler": [], "gate_parameters": {}}
            )
        if tail == ["certificate"]:
            return httpx.Response(200, json={"target": name, "laser_wavelength_meters": 1.55e-6})
        uptime = {"monday": ["15:00:00+00:00", "19:59:59+00:00"]}
        return httpx.Response(200, json={"target": name, "status": "online", "expected_uptime": uptime})


class _Dripping(httpx.AsyncByteStream):
    """
    A body in a hundred pieces or so, which breaks off after ``cut`` bytes. No generator: httpx drops those that are not read to
    their end, at which trio warns.
    """

    def __init__(self, platform: FakePlatform, body: bytes, cut: int) -> None:
        self._platform, self._body, self._cut = platform, body, cut
        self._size = max(1, len(platform.result) // 100)
        self._start = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._start >= min(len(self._body), self._cut):
            if self._cut <= len(self._body):
                raise httpx.ReadError("connection reset by peer")
            raise StopAsyncIteration
        await anyio.sleep(self._platform.drip)
        piece = self._body[self._start : min(self._start + self._size, self._cut)]
        self._platform.body_bytes += len(piece)
        self._start += self._size
        return piece


def is_batch(request: httpx.Request) -> bool:
    return request.headers.get("content-type") == BATCH


def refusal(status: int, code: str, detail: str, **headers: str) -> httpx.Response:
    return httpx.Response(
        status, json={"status_code": status, "code": code, "detail": detail, "meta": {}}, headers=headers
    )


def ids(count: int) -> Iterator[str]:
    return (str(uuid.UUID(int=number)) for number in range(1, count + 1))
