"""The requests that a platform has received, with secrets masked, for tests to assert on. No I/O."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import cast, overload
from urllib.parse import parse_qsl

from ..models import JSONValue

_MASK = "***"
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
_SECRET_FIELDS = frozenset({"refresh_token", "client_secret", "password"})


@dataclass(slots=True)
class LoggedRequest:
    """
    One request as it arrived. ``path`` has no query, which is in ``params``; names of ``headers`` are lower case.

    ``time`` is in seconds of the platform's clock. ``status`` is that of the answer, None before it and
    when none was sent. ``faults`` are the kinds of the faults that were applied.
    """

    method: str
    path: str
    params: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    time: float = 0.0
    status: int | None = None
    faults: tuple[str, ...] = ()

    @property
    def json(self) -> JSONValue:
        """The body as JSON. Raises ``ValueError`` if it is none."""
        return cast("JSONValue", json.loads(self.body))

    def __str__(self) -> str:
        faults = f" ({', '.join(self.faults)})" if self.faults else ""
        return f"{self.method} {self.path} -> {self.status or 'no answer'}{faults}"


class RequestLog(Sequence[LoggedRequest]):
    """The requests in the order of their arrival. Safe to read from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[LoggedRequest] = []

    @overload
    def __getitem__(self, index: int) -> LoggedRequest: ...
    @overload
    def __getitem__(self, index: slice) -> list[LoggedRequest]: ...
    def __getitem__(self, index: int | slice) -> LoggedRequest | list[LoggedRequest]:
        with self._lock:
            return self._requests[index]

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[LoggedRequest]:
        return iter(self[:])

    def matching(self, method: str | None = None, path: str | None = None) -> list[LoggedRequest]:
        """Return the requests with this method and a path of this pattern, where ``*`` stands for any characters."""
        return [
            request
            for request in self
            if method in (None, request.method) and (path is None or fnmatchcase(request.path, path))
        ]

    def count(self, value: object = None, path: str | None = None) -> int:
        """Return the number of requests with this method and a path of this pattern: ``count("POST", "/jobs")``."""
        if isinstance(value, LoggedRequest):
            return sum(request == value for request in self)
        return len(self.matching(None if value is None else str(value), path))

    def clear(self) -> None:
        """Forget the requests so far."""
        with self._lock:
            self._requests.clear()

    def __repr__(self) -> str:
        return "\n".join(["RequestLog:", *(f"  {request}" for request in self)])

    def append(self, request: LoggedRequest) -> None:
        """Add a request. The platform calls this."""
        with self._lock:
            self._requests.append(request)


def logged(
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]],
    body: bytes,
    *,
    time: float,
    secrets: Iterable[str],
) -> LoggedRequest:
    """Return a request without its secrets: the given ones, and the headers and fields that carry such."""
    secrets = [secret for secret in secrets if secret]
    path, _, query = target.partition("?")
    shown = {
        name.lower(): _scheme(value) if name.lower() in _SECRET_HEADERS else _masked(value, secrets)
        for name, value in headers
    }
    return LoggedRequest(
        method=method,
        path=_masked(path, secrets),
        params=[(name, _masked(value, secrets)) for name, value in parse_qsl(query, keep_blank_values=True)],
        headers=shown,
        body=_masked_body(body, shown.get("content-type", ""), secrets),
        time=time,
    )


def _scheme(value: str) -> str:
    """Keep ``Bearer`` of an authorization, which is no secret."""
    scheme, space, _ = value.partition(" ")
    return f"{scheme} {_MASK}" if space else _MASK


def _masked(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, _MASK)
    return text


def _masked_body(body: bytes, media_type: str, secrets: Iterable[str]) -> bytes:
    if media_type.startswith("application/x-www-form-urlencoded"):
        fields = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
        return "&".join(f"{name}={_MASK if name in _SECRET_FIELDS else value}" for name, value in fields).encode()
    for secret in secrets:
        body = body.replace(secret.encode(), _MASK.encode())
    return body
