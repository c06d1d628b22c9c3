"""The endpoints of a scripted platform: a request in, an answer out. No I/O, and no program runs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, urlencode

from ..models import JobStatus
from .answers import Answer, Received, json_answer, refusal
from .scripted_job import ScriptedJob

BATCH: Final = "application/jobs+json"
MAX_PAGE: Final = 100
CHANGES: Final = "/jobs/changes"
_UPTIME: Final = {day: ["00:00:00+00:00", "23:59:59+00:00"] for day in
                  ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")}  # fmt: skip


class Host(Protocol):
    """The platform whose endpoints these are. Its lock is held during each call."""

    url: str
    api_key: str

    @property
    def cancel_time(self) -> float: ...

    @property
    def cursor(self) -> str: ...
    def found(self, job_id: str) -> ScriptedJob | None: ...
    def newest_first(self) -> list[ScriptedJob]: ...
    def submit(self, fields: Mapping[str, Any]) -> ScriptedJob: ...
    def change(self, job: ScriptedJob, apply: Callable[[], None]) -> None: ...
    def now(self) -> float: ...
    def result_file(self, job: ScriptedJob, kind: str) -> bytes: ...


@dataclass(slots=True)
class Endpoints:
    """``targets`` are the devices. ``has_feed``, ``has_keys`` and ``has_batches`` are the extensions of the protocol on offer."""

    host: Host
    targets: tuple[str, ...]
    token_lifetime: float
    has_feed: bool
    has_keys: bool
    has_batches: bool
    tokens: dict[str, float] = field(default_factory=dict)
    """The access tokens and when they expire."""
    _by_key: dict[str, tuple[str, ScriptedJob]] = field(default_factory=dict)

    def answer(self, request: Received) -> Answer | None:
        """Return the answer, or None where a stream of the change feed is asked for, and allowed."""
        parts = request.path.strip("/").split("/")
        if request.path.endswith("/openid-connect/token"):
            return self._token(request)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.tokens.get(token, -1.0) < self.host.now():
            return refusal(401, "unauthenticated", "the access token is missing, wrong or expired")
        match request.method, parts:
            case "GET", ["healthz"]:
                return Answer(headers={"content-length": "0"})
            case "GET", ["devices"]:
                return json_answer({"data": [_device(target) for target in self.targets]})
            case "GET", ["devices", target, *tail] if target in self.targets:
                return _of_device(target, tail)
            case "GET", ["jobs"]:
                return self._offering(request, self._list(request))
            case "POST", ["jobs"]:
                return self._offering(request, self._submit(request))
            case "GET", ["jobs", "changes"] if self.has_feed:
                return None
            case _, ["jobs", job_id, *tail] if (job := self.host.found(job_id)) is not None:
                return self._of_job(request, job, tail)
        return refusal(404, "not-found", f"there is no {request.method} {request.path}")

    def _token(self, request: Received) -> Answer:
        form = parse_qs(request.body.decode("utf-8", "replace"))
        if form.get("refresh_token") != [self.host.api_key]:
            return json_answer({"error": "invalid_grant", "error_description": "unknown API key"}, 400)
        token = secrets.token_urlsafe(24)
        self.tokens[token] = self.host.now() + self.token_lifetime
        return json_answer({"access_token": token, "expires_in": self.token_lifetime, "token_type": "Bearer"})

    def _offering(self, request: Received, answer: Answer) -> Answer:
        """Add the headers that offer extensions, as the embedded platform does."""
        if answer.status >= 400:
            return answer
        links = [link for link in [answer.headers.get("link")] if link]
        if self.has_feed:
            links.append(f'<{CHANGES}?since={self.host.cursor}>; rel="monitor"; type="text/event-stream"')
        offers = {"link": ", ".join(links)} if links else {}
        if self.has_batches:
            offers["accept-post"] = f"application/json, {BATCH}"
        if self.has_keys and "idempotency-key" in request.headers:
            offers["idempotency-key"] = request.headers["idempotency-key"]
        return replace(answer, headers={**answer.headers, **offers})

    def _submit(self, request: Received) -> Answer:
        try:
            content = json.loads(request.body)
        except ValueError:
            return refusal(400, "invalid-request", "the body is not JSON")
        if request.headers.get("content-type") == BATCH and self.has_batches:
            return json_answer({"data": [self._batch_item(fields) for fields in content]}, 207)
        outcome = self._taken({**content, "idempotency_key": request.headers.get("idempotency-key")})
        return json_answer(outcome.record(), 201) if isinstance(outcome, ScriptedJob) else outcome

    def _batch_item(self, fields: dict[str, Any]) -> dict[str, object]:
        outcome = self._taken(fields)
        if isinstance(outcome, ScriptedJob):
            return {"status": 201, "job": outcome.record()}
        return {"status": outcome.status, "error": json.loads(outcome.body)}

    def _taken(self, fields: dict[str, Any]) -> ScriptedJob | Answer:
        """Return the new job, the one of the same idempotency key, or a refusal."""
        if not isinstance(fields.get("circuit"), str):
            return refusal(400, "validation-error", "a submission needs a circuit")
        target = fields.get("target")
        if target is not None and target not in self.targets:
            return refusal(404, "not-found", f"there is no device {target}")
        key = fields.get("idempotency_key") if self.has_keys else None
        content = json.dumps([fields.get(name) for name in ("name", "target", "circuit", "language")])
        if key in self._by_key:
            before, job = self._by_key[key]
            if before != content:
                return refusal(422, "idempotency-key-reused", "this key belongs to another submission")
            return job
        job = self.host.submit(fields)
        if key is not None:
            self._by_key[key] = (content, job)
        return job

    def _list(self, request: Received) -> Answer:
        query = parse_qs(request.query)
        size, after = (int(query.get(name, [default])[0]) for name, default in (("size", "5"), ("after", "0")))
        if not 1 <= size <= MAX_PAGE:
            return refusal(400, "validation-error", f"size is from 1 to {MAX_PAGE}")
        found = self.host.newest_first()
        if "id" in query:
            wanted = set(query["id"])
            found = [job for job in found if job.id in wanted]
        if "status" in query:
            found = [job for job in found if job.status == query["status"][0]]
        link = ""
        if len(found) > after + size:
            following = urlencode({**query, "size": size, "after": after + size}, doseq=True)
            link = f'</jobs?{following}>; rel="next"'
        answer = json_answer({"data": [job.record() for job in found[after : after + size]]})
        return replace(answer, headers={**answer.headers, "link": link}) if link else answer

    def _of_job(self, request: Received, job: ScriptedJob, tail: list[str]) -> Answer:
        match request.method, tail:
            case "GET", []:
                answer = json_answer(job.record())
                if not self.has_feed:
                    return answer
                link = f'<{CHANGES}?since={self.host.cursor}>; rel="monitor"; type="text/event-stream"'
                return replace(answer, headers={**answer.headers, "link": link})
            case "PATCH", []:
                if job.status.is_final:
                    return refusal(409, "invalid-job-operation", f"the job is {job.status}")
                self.host.change(job, lambda: job.cancel_in(self.host.cancel_time))
                return Answer(status=204)
            case "GET", ["circuit"]:
                return json_answer({"circuit": job.program})
            case "GET", ["result"] if job.status == JobStatus.COMPLETED:
                return _result(request, self.host, job)
            case "GET", ["result"]:
                return refusal(404, "not-found", f"the job is {job.status}")
        return refusal(404, "not-found", f"there is no {request.method} {request.path}")


def _result(request: Received, host: Host, job: ScriptedJob) -> Answer:
    """Return the result, or the rest of it, with what a client needs to resume a download."""
    kind = "npy" if request.headers.get("accept-version", "").startswith("0.2") else "npz"
    body = host.result_file(job, kind)
    digest = hashlib.sha256(body).digest()
    etag = f'"{digest.hex()[:16]}"'
    headers = {
        "content-type": "application/x-numpy" if kind == "npy" else "application/zip",
        "accept-ranges": "bytes",
        "etag": etag,
        "repr-digest": f"sha-256=:{base64.b64encode(digest).decode()}:",
    }
    if request.headers.get("if-none-match") == etag:
        return Answer(status=304, headers={"etag": etag})
    wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
    if wanted and request.headers.get("if-range") == etag and int(wanted[1]) < len(body):
        headers["content-range"] = f"bytes {wanted[1]}-{len(body) - 1}/{len(body)}"
        return Answer(status=206, headers=headers, body=body[int(wanted[1]) :])
    return Answer(headers=headers, body=body)


def _device(target: str) -> dict[str, object]:
    return {
        "target": target,
        "status": "online",
        "expected_uptime": _UPTIME,
        "created_at": "2021-01-27T15:15:25.801308Z",
    }


def _of_device(target: str, tail: list[str]) -> Answer:
    if tail == ["specifications"]:
        # Without a layout and gate parameters every program fits.
        return json_answer(
            {"target": target, "layout": "", "modes": 8, "compiler": ["gaussian"], "gate_parameters": {}}
        )
    if tail == ["certificate"]:
        return json_answer({"target": target, "finished_at": "2021-01-27T15:15:25.801308+00:00"})
    return (
        refusal(404, "not-found", f"device {target} has no {'/'.join(tail)}") if tail else json_answer(_device(target))
    )
