"""
One request and its answer as plain data, and which of our errors a refusal is. No I/O, no httpx: ``transport`` sends them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NoReturn, Self, TypeAlias, TypeVar

from . import wire
from .errors import (
    AuthenticationError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitedError,
    ResponseError,
    ServerError,
)
from .models import JSONValue
from .retry import retry_after

Lane: TypeAlias = Literal["poll", "bulk"]
"""Which pool of connections a request goes through, so that large results and many submissions never hold up the polls."""

T = TypeVar("T")

_REFUSALS: Mapping[int, type[ResponseError]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: InvalidRequestError,
    429: RateLimitedError,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """
    What to send. ``harmless``: sending it twice is the same as once. ``expect``: the statuses that mean yes, any 2xx by
    default. ``attempts``: a tighter bound than the connection's own on how often it is tried.
    """

    method: str
    path: str
    params: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = field(default=None, repr=False)
    lane: Lane = "bulk"
    harmless: bool = True
    expect: frozenset[int] | None = None
    attempts: int | None = None

    @classmethod
    def with_json(
        cls,
        method: str,
        path: str,
        body: Mapping[str, JSONValue],
        *,
        headers: Mapping[str, str] | None = None,
        harmless: bool = True,
        expect: frozenset[int] | None = None,
    ) -> Self:
        """A request with a JSON body, encoded once, so that a repeated request is the same byte for byte."""
        return cls(
            method=method,
            path=path,
            headers={"Content-Type": "application/json", **(headers or {})},
            content=json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(),
            harmless=harmless,
            expect=expect,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The head of an answer and, unless it is being streamed, all of its body. ``next_page`` is a list's next path."""

    request: Request
    url: str
    status_code: int
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)
    next_page: str | None = None

    def parse(self, read: Callable[[object], T]) -> T:
        """The body as JSON through ``read``, a function of ``wire``; ProtocolError when it does not speak the protocol."""
        try:
            return read(json.loads(self.body))
        except wire.MalformedAnswer as error:
            self.refuse(str(error))
        except (ValueError, RecursionError):
            self.refuse(self._kind())

    def refuse(self, reason: str) -> NoReturn:
        """Says that this answer is not what a platform would send."""
        raise ProtocolError(
            f"{self.request.method} {self.url} was answered with status {self.status_code}, but not in the platform's "
            f"language: {reason}",
            method=self.request.method,
            url=self.url,
        )

    def check_status(self) -> None:
        """Raises the error that the status means; a success other than the expected one is a ProtocolError."""
        status = self.status_code
        if self.request.expect is not None and 200 <= status < 300 and status not in self.request.expect:
            self.refuse(f"only {', '.join(map(str, sorted(self.request.expect)))} means success here")
        if 200 <= status < 300:
            return
        if not 400 <= status < 600:
            self.refuse(
                f"a redirect to {self.headers.get('location', 'nowhere')[:200]}"
                if 300 <= status < 400
                else self._kind()
            )
        raise self._refusal()

    def _refusal(self) -> ResponseError:
        code, detail, meta = "", "", {}  # type: str, str, Mapping[str, JSONValue]
        try:
            code, detail, meta = wire.error_words(json.loads(self.body))
        except (ValueError, RecursionError):
            detail = self._kind() if self.body else ""
        kind = _REFUSALS.get(self.status_code, ServerError if self.status_code >= 500 else ResponseError)
        words = ": ".join(word for word in (code, detail) if word)
        return kind(
            f"{self.request.method} {self.url} was refused with status {self.status_code}"
            + (f": {words}" if words else ""),
            method=self.request.method,
            url=self.url,
            status_code=self.status_code,
            code=code,
            detail=detail,
            meta=meta,
            retry_after=retry_after(self.headers.get("retry-after")),
        )

    def _kind(self) -> str:
        """What the body is instead of JSON, in a few words."""
        if not self.body:
            return "an empty body instead of JSON"
        start = self.body[:60].decode("utf-8", "replace")
        return (
            f"{self.headers.get('content-type', 'a body without type')[:60]} that starts with {start!r} instead of JSON"
        )
