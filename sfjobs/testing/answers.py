"""Answers of a scripted platform as plain data, and how the faults change those that arrive. No I/O."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any, Protocol

from .faults import Fault


class EventPieces(Protocol):
    """The body of an answer of the change feed: pieces, each of whole events."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request as it arrived. Names of ``headers`` are lower case; ``target`` is the path with its query."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer with its whole body, or with a ``stream`` in its place."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    stream: EventPieces | None = None


def json_answer(content: object, status: int = 200, **headers: str) -> Answer:
    """Return an answer in JSON. An underscore in a header's name stands for a hyphen."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = json.dumps(content, separators=(",", ":")).encode()
    return Answer(status=status, headers={"content-type": "application/json", **named}, body=body)


def refusal(status: int, code: str, detail: str, **headers: str) -> Answer:
    """Return an error in the shape that all errors of the protocol have."""
    return json_answer({"status_code": status, "code": code, "detail": detail, "meta": {}}, status, **headers)


def scripted_answer(fault: Fault) -> Answer:
    """Return the answer of a ``status`` fault."""
    if fault.body is None:
        answer = refusal(fault.code, "scripted-fault", f"a fault answers {fault.code}")
        return replace(answer, headers={**answer.headers, **fault.headers})
    return Answer(status=fault.code, headers=fault.headers, body=fault.body)


def changed(answer: Answer, faults: Iterable[Fault], date: datetime) -> Answer:
    """Return the answer with its date, and with what the faults change in it."""
    for fault in faults:
        match fault.kind:
            case "clock skew":
                date += timedelta(seconds=fault.seconds)
            case "odd record":
                answer = _with_odd_records(answer, fault)
            case "compressed":
                answer = _compressed(answer, fault)
    return replace(answer, headers={"date": format_datetime(date, usegmt=True), **answer.headers})


def _with_odd_records(answer: Answer, fault: Fault) -> Answer:
    if answer.stream is not None:
        return replace(answer, stream=_ChangedStream(answer.stream, lambda piece: _odd_events(piece, fault)))
    if "json" not in answer.headers.get("content-type", "") or answer.status >= 400:
        return answer
    body = json.dumps(_odd(json.loads(answer.body), fault), separators=(",", ":")).encode()
    return replace(answer, body=body)


def _odd(value: Any, fault: Fault) -> Any:
    """Change the records of jobs, wherever they are in an answer."""
    if isinstance(value, list):
        return [_odd(item, fault) for item in value]
    if not isinstance(value, dict):
        return value
    if "id" in value and "status" in value:
        return {**value, **fault.fields} if fault.job_id in (None, value["id"]) else value
    return {name: _odd(item, fault) for name, item in value.items()}


def _odd_events(piece: bytes, fault: Fault) -> bytes:
    lines = piece.split(b"\n")
    for number, line in enumerate(lines):
        if line.startswith(b"data: {"):
            lines[number] = b"data: " + json.dumps(_odd(json.loads(line[6:]), fault)).encode()
    return b"\n".join(lines)


def _compressed(answer: Answer, fault: Fault) -> Answer:
    if answer.stream is not None or not answer.body:
        return answer
    body = gzip.compress(answer.body) if fault.coding == "gzip" else zlib.compress(answer.body)
    if fault.is_damaged:
        body = body[: len(body) // 2]
    return replace(answer, body=body, headers={**answer.headers, "content-encoding": fault.coding})


class _ChangedStream:
    """A stream whose pieces are changed. No generator: one that is left half-way is closed late, of which trio warns."""

    def __init__(self, stream: EventPieces, change: Callable[[bytes], bytes]) -> None:
        self._stream = stream
        self._pieces = aiter(stream)
        self._change = change

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return self._change(await anext(self._pieces))

    async def aclose(self) -> None:
        await self._stream.aclose()
