"""
One request and its answer as plain data, and which of our errors a refusal is. No I/O, no httpx: ``transport`` sends them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NoReturn, Self, TypeAlias, TypeVar
from urllib.parse import urlsplit

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

if TYPE_CHECKING:
    from .pace import Turn

Lane: TypeAlias = Literal["poll", "bulk"]
"""Which pool of connections a request goes through, so that large results and many submissions never hold up the polls."""

T = TypeVar("T")

_MEDIA_TYPE = re.compile(r"(?:application|audio|image|multipart|text)/[\w.+-]{1,40}", re.ASCII)

# Two bytes of JSON can become sixty of memory, so what is counted is values, not bytes. A program's text, by far the longest
# that the protocol has, is mostly commas and the brackets of modes.
MOST_VALUES = 200_000
MOST_COMMAS = 1_200_000

_PATH = re.compile(r"/[!-~]{0,4000}\Z")

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

    @property
    def brings_a_secret(self) -> bool:
        """Whether the answer holds a token, so that it is never quoted, however malformed it is."""
        return self.path.endswith("/openid-connect/token")

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
    """The head of an answer and, unless it is being streamed, all of its body. ``next_link`` is as it came."""

    request: Request
    url: str
    status_code: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    next_link: str | None = None

    def parse(self, read: Callable[[object], T]) -> T:
        """The body as JSON through ``read``, a function of ``wire``; ProtocolError when it does not speak the protocol."""
        # What is raised, is raised outside: the frames of a parser hold the body, and a body may be a token.
        parsed, reason = self._parsed(read)
        if parsed is None:
            self.refuse(reason)
        return parsed[0]

    def _parsed(self, read: Callable[[object], T]) -> tuple[tuple[T] | None, str]:
        if sum(map(self.body.count, (b"{", b"[", b'"'))) > MOST_VALUES or self.body.count(b",") > MOST_COMMAS:
            return None, "more values than any answer of the protocol has"
        try:
            return (read(json.loads(self.body)),), ""
        except wire.MalformedAnswer as error:
            return None, str(error)
        except (ValueError, RecursionError):
            return None, self._kind()

    def next_page(self) -> str | None:
        """Path and query of a list's next page: whatever host a link names, requests only ever go to the platform's own."""
        if self.next_link is None:
            return None
        try:
            parts = urlsplit(self.next_link)
        except ValueError:
            self.refuse("the link to its next page is no address")
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        if not _PATH.match(path):
            self.refuse("the link to its next page is no address")
        return path

    def refuse(self, reason: str) -> NoReturn:
        """Says that this answer is not what a platform would send."""
        raise ProtocolError(
            f"{self.request.method} {self.url} was answered with status {self.status_code}, but not in the platform's "
            f"language: {reason}",
            method=self.request.method,
            url=self.url,
        )

    def tell(self, turn: Turn) -> Self:
        """Tells those that wait for their turn what this answer means to them."""
        if self.status_code not in (429, 503):
            turn.accepted()
            return self
        refusal = self._refusal()
        if isinstance(refusal, RateLimitedError):
            turn.refused(refusal.retry_after, is_quota=refusal.is_quota)
        else:
            turn.unavailable(refusal.retry_after)
        return self

    def check_status(self) -> None:
        """Raises the error that the status means; a success other than the expected one is a ProtocolError."""
        status = self.status_code
        if self.request.expect is not None and 200 <= status < 300 and status not in self.request.expect:
            self.refuse(f"only {', '.join(map(str, sorted(self.request.expect)))} means success here")
        if 200 <= status < 300:
            return
        if not 400 <= status < 600:
            self.refuse(f"a redirect to {self._destination()}" if 300 <= status < 400 else self._kind())
        raise self._refusal()

    def _refusal(self) -> ResponseError:
        words, reason = self._parsed(wire.error_words)
        code, detail, meta = ("", reason if self.body else "", {}) if words is None else words[0]
        kind = _REFUSALS.get(self.status_code, ServerError if self.status_code >= 500 else ResponseError)
        said = ": ".join(word for word in (code, detail) if word)
        return kind(
            f"{self.request.method} {self.url} was refused with status {self.status_code}"
            + (f": {said}" if said else ""),
            method=self.request.method,
            url=self.url,
            status_code=self.status_code,
            code=code,
            detail=detail,
            meta=meta,
            retry_after=retry_after(self.headers.get("retry-after")),
        )

    def _destination(self) -> str:
        """The host of a redirect. Its path and query are not shown: they may repeat what was sent."""
        location = self.headers.get("location", "")
        try:
            parts = urlsplit(location)
        except ValueError:
            location = ""
        if not location:
            return "nowhere"
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2][:200]}" if parts.netloc else "another path"

    def _kind(self) -> str:
        """What the body is instead of JSON, in a few words."""
        if not self.body:
            return "an empty body instead of JSON"
        media_type = _MEDIA_TYPE.match(self.headers.get("content-type", ""))
        kind = media_type[0] if media_type else "a body without type"
        if self.request.brings_a_secret:
            return f"{kind} instead of JSON"
        return f"{kind} that starts with {self.body[:60].decode('utf-8', 'replace')!r} instead of JSON"
