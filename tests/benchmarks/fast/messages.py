"""HTTP messages of the fast platform: whole requests and whole responses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

JSON: Final = b"content-type: application/json\r\n"

_REASONS: Final = {200: b"OK", 201: b"Created", 204: b"No Content", 207: b"Multi-Status", 429: b"Too Many Requests"}


@dataclass(frozen=True, slots=True)
class Request:
    """A request. ``head`` is all in lower case: only ids, numbers and known words matter."""

    method: bytes
    path: bytes
    query: bytes
    head: bytes
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        start = self.head.find(b"\r\n" + name + b":")
        if start < 0:
            return None
        start += len(name) + 3
        end = self.head.find(b"\r\n", start)
        return self.head[start : len(self.head) if end < 0 else end].strip()


def answered(status: int, body: bytes, headers: bytes = JSON) -> bytes:
    """Return a whole response; each of ``headers`` ends with its line break."""
    head = b"HTTP/1.1 %d %s\r\nserver: fast\r\n%scontent-length: %d\r\n\r\n"
    return head % (status, _REASONS.get(status, b"No"), headers, len(body)) + body


def refused(status: int, code: str, headers: bytes = b"") -> bytes:
    """Return an error response in the form of the protocol; the token endpoint has its own form."""
    words: dict[str, object] = {"status_code": status, "code": code, "detail": code.replace("-", " "), "meta": {}}
    if code == "invalid_grant":
        words = {"error": code}
    return answered(status, json.dumps(words).encode(), JSON + headers)
