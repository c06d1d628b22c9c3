"""
One request and its answer as plain data, and which of our errors a refusal is. No I/O, no httpx: ``transport`` sends them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NoReturn, Protocol, Self, TypeAlias, TypeVar
from urllib.parse import urlsplit

from .._protocol import wire
from ..errors import (
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
from ..models import Cursor, JSONValue
from .retry import retry_after

if TYPE_CHECKING:
    import anyio

Lane: TypeAlias = Literal["poll", "bulk"]
"""Which pool of connections a request goes through, so that large results and many submissions never hold up the polls."""

T = TypeVar("T")

_MEDIA_TYPE = re.compile(r"(?:application|audio|image|multipart|text)/[\w.+-]{1,40}", re.ASCII)

# Two bytes of JSON can become sixty of memory, so what is counted is values, not bytes. A program's text, by far the longest
# that the protocol has, is mostly commas and the brackets of modes.
MOST_VALUES = 200_000
MOST_COMMAS = 1_200_000

_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

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


class NotModified(Exception):
    """What the request named by ``If-None-Match`` is what there still is. Asked for, so no error: it reaches no caller."""


def compact_json(value: JSONValue) -> bytes:
    """JSON without white space, in UTF-8. Raises ValueError for half a surrogate pair."""
    return _compact.encode(value).encode()


class ByteStream(Protocol):
    """
    A response that stays open. ``read`` returns the next bytes, and ``b""`` at the end. Where it ``is_resumable``, a cancelled
    ``read`` loses no bytes.
    """

    @property
    def is_resumable(self) -> bool: ...

    async def read(self) -> bytes: ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """
    What to send. ``idempotent``: sending it twice is the same as once. ``expect``: the statuses that mean yes, any 2xx by
    default. ``attempts``: a tighter bound than the connection's own on how often it is tried. ``shield``: a scope that is to be
    shielded while the request is under way, and not while it waits to go out. ``on_departure`` hears True when it goes out,
    and False when it waits for another try.
    """

    method: str
    path: str
    params: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = field(default=None, repr=False)
    lane: Lane = "bulk"
    idempotent: bool = True
    expect: frozenset[int] | None = None
    attempts: int | None = None
    shield: anyio.CancelScope | None = field(default=None, repr=False, compare=False)
    on_departure: Callable[[bool], None] | None = field(default=None, repr=False, compare=False)

    def shield_on(self) -> None:
        if self.shield is not None:
            self.shield.shield = True
        if self.on_departure is not None:
            self.on_departure(True)

    def shield_off(self) -> None:
        if self.shield is not None:
            self.shield.shield = False
        if self.on_departure is not None:
            self.on_departure(False)

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
        idempotent: bool = True,
        expect: frozenset[int] | None = None,
    ) -> Self:
        """A request with a JSON body, encoded once, so that a repeated request is the same byte for byte."""
        return cls(
            method=method,
            path=path,
            headers={"Content-Type": "application/json", **(headers or {})},
            content=compact_json(body),
            idempotent=idempotent,
            expect=expect,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The head of an answer and, unless it is being streamed, all of its body. The two links are as they came."""

    request: Request
    url: str
    status_code: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    next_link: str | None = None
    monitor_link: str | None = None

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
        except wire.MalformedResponse as error:
            return None, str(error)
        except (ValueError, RecursionError):
            return None, self._kind()

    def next_page(self) -> str | None:
        """Path and query of a list's next page: whatever host a link names, requests only ever go to the platform's own."""
        if self.next_link is None:
            return None
        path = _path_of(self.next_link)
        if path is None:
            self.refuse("the link to its next page is no address")
        return path

    def cursor(self) -> Cursor | None:
        """Where in the change feed this answer stands, if the platform offers one. An offer that is none is passed over."""
        path = None if self.monitor_link is None else _path_of(self.monitor_link)
        return None if path is None else wire.cursor(path)

    def refuse(self, reason: str) -> NoReturn:
        """Says that this answer is not what a platform would send."""
        raise ProtocolError(
            f"{self.request.method} {self.url} was answered with status {self.status_code}, but not in the platform's "
            f"language: {reason}",
            method=self.request.method,
            url=self.url,
        )

    def refuse_page(self) -> None:
        """For answers whose success says it all: a page comes from something in between, which may call anything a success."""
        if self.headers.get("content-type", "").lstrip().lower().startswith("text/html"):
            self.refuse("a page")

    def check_status(self) -> None:
        """
        Raises the error that the status means, or NotModified where that was asked for; a success other than the expected one
        is a ProtocolError.
        """
        status = self.status_code
        if status == 304 and "If-None-Match" in self.request.headers:
            raise NotModified
        if self.request.expect is not None and 200 <= status < 300 and status not in self.request.expect:
            self.refuse(f"only {', '.join(map(str, sorted(self.request.expect)))} means success here")
        if 200 <= status < 300:
            return
        if not 400 <= status < 600:
            self.refuse(f"a redirect to {self._destination()}" if 300 <= status < 400 else self._kind())
        raise self.refusal()

    def refusal(self) -> ResponseError:
        """The error that this response means."""
        words, reason = self._parsed(wire.error_words)
        return refusal(
            self.request.method,
            self.url,
            self.status_code,
            ("", reason if self.body else "", {}) if words is None else words[0],
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


def _path_of(link: str) -> str | None:
    try:
        parts = urlsplit(link)
    except ValueError:
        return None
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return path if _PATH.match(path) else None


def refusal(
    method: str,
    url: str,
    status_code: int,
    words: tuple[str, str, Mapping[str, JSONValue]],
    *,
    retry_after: float | None = None,
) -> ResponseError:
    """The error that an answer with this status means; ``words`` are its code, detail and meta, see ``wire.error_words``."""
    code, detail, meta = words
    kind = _REFUSALS.get(status_code, ServerError if status_code >= 500 else ResponseError)
    said = ": ".join(word for word in (code, detail) if word)
    return kind(
        f"{method} {url} was refused with status {status_code}" + (f": {said}" if said else ""),
        method=method,
        url=url,
        status_code=status_code,
        code=code,
        detail=detail,
        meta=meta,
        retry_after=retry_after,
    )
