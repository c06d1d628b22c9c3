"""
The lines between the platform and a worker process: one JSON object per line.

    platform -> worker   the attempt, as ``Work``
    worker -> platform   ready             once, when it has started
                         began             when it has read an attempt: from here on, its end is the end of the attempt
                         done              the result is stored: ``result`` and ``meta``
                         failed            the program cannot be run: ``code`` and ``detail``
                         trouble           the machine has no room or descriptors: ``detail`` and ``bytes_needed``

A worker runs the numerical code of many libraries, so that nothing in a reply is taken for granted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from ...models import JSONValue
from ..records import ResultFile
from .executor import Work

_EVENTS: Final = frozenset({"ready", "began", "done", "failed", "trouble"})


class BrokenReply(Exception):
    """A reply that is not one line of the protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A reply. Which fields are set depends on ``event``."""

    event: str
    code: str = ""
    detail: str = ""
    bytes_needed: int = 0
    result: ResultFile | None = None
    meta: Mapping[str, JSONValue] = field(default_factory=dict)


def work_line(work: Work) -> bytes:
    return json.dumps(asdict(work)).encode() + b"\n"


def reply_line(event: str, **fields: object) -> bytes:
    """Return a reply as a line. Raises ``ValueError`` or ``TypeError`` if a field has no JSON."""
    return json.dumps({"event": event, **fields}, allow_nan=False).encode() + b"\n"


def read_reply(line: bytes, work: Work | None = None) -> Reply:
    """Return the reply in a line. ``work`` is the attempt that runs. Raises ``BrokenReply``."""
    try:
        content = json.loads(line, parse_constant=_refuse_constant)
        if not isinstance(content, dict) or content.get("event") not in _EVENTS:
            raise BrokenReply("it is no event of the protocol")
        event: str = content["event"]
        if (event in {"done", "failed", "trouble"}) == (work is None):
            raise BrokenReply(f"'{event}' at the wrong time")
        if event == "done":
            assert work is not None
            return Reply(event=event, result=_result(content["result"], work), meta=_object(content["meta"]))
        if event == "failed":
            return Reply(event=event, code=_text(content["code"]), detail=_text(content["detail"]))
        if event == "trouble":
            return Reply(event=event, detail=_text(content["detail"]), bytes_needed=_count(content["bytes_needed"]))
        return Reply(event=event)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BrokenReply(f"{type(error).__name__}: {str(error)[:200]}") from error


def _result(content: Any, work: Work) -> ResultFile:
    result = ResultFile(**_object(content))
    for digest in (result.digest, result.npy_digest):
        _text(digest)
    sizes = [_count(size) for size in (result.size, result.npy_offset, result.npy_size)]
    if result.name != work.result_name or sizes[1] + sizes[2] > sizes[0]:
        raise ValueError("it describes another result")
    return result


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not _is_finite(value):
        raise TypeError("an object is expected")
    return value


def _is_finite(value: Any) -> bool:
    """Return whether no number is infinite, as ``1e999`` is when it has been read."""
    if isinstance(value, dict):
        return all(_is_finite(item) for item in value.values())
    if isinstance(value, list):
        return all(_is_finite(item) for item in value)
    return not isinstance(value, float) or math.isfinite(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is expected")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise TypeError("a number of bytes is expected")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
