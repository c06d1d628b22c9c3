"""
One request and its response as plain data, and which error an error response means. No I/O and no httpx: ``transport`` sends
requests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NoReturn, Protocol, TypeAlias, TypeVar

from .._protocol import wire
from .._protocol.salvage import salvaged
from ..config import Secret
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
from . import redirects
from .links import path_of
from .masking import masked, masked_fields
from .retry import retry_after

if TYPE_CHECKING:
    import anyio

Lane: TypeAlias = Literal["poll", "query", "bulk", "stream"]
"""
The kind of a request, each with its own connections, so that no kind delays another: the polls and the change feed of waiting;
single queries of callers; submissions and results; results that a caller holds open.
"""

T = TypeVar("T")

_MEDIA_TYPE = re.compile(r"(?:application|audio|image|multipart|text)/[\w.+-]{1,40}", re.ASCII)

# Two bytes of JSON can become sixty of memory, so values are counted, not bytes. A program's text, by far the longest value of
# the protocol, is mostly commas and the brackets of modes.
MAX_JSON_VALUES = 200_000
MAX_JSON_COMMAS = 1_200_000

_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

_ERROR_TYPES: Mapping[int, type[ResponseError]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    413: InvalidRequestError,
    422: InvalidRequestError,
    429: RateLimitedError,
}


class NotModified(Exception):
    """304: the resource still has the entity tag of ``If-None-Match``. Expected, so not an error; it reaches no caller."""


def compact_json(value: JSONValue) -> bytes:
    """Return JSON without white space, in UTF-8. Raises ValueError for half a surrogate pair."""
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
    A request to the platform.

    ``idempotent``: sending it twice is the same as once. ``expect``: the statuses that mean success, by default any 2xx.
    ``attempts``: a tighter bound on the attempts than the connection's own. ``shield``: a cancel scope that is shielded while the
    request is in flight, but not while it waits. ``on_in_flight`` is called with True when the request is sent, and with False
    when it waits for another attempt.
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
    on_in_flight: Callable[[bool], None] | None = field(default=None, repr=False, compare=False)

    def note_in_flight(self, in_flight: bool) -> None:
        if self.shield is not None:
            self.shield.shield = in_flight
        if self.on_in_flight is not None:
            self.on_in_flight(in_flight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """
    The head of a response and, unless it is streamed, all of its body. The two links are as the platform sent them. ``secrets``
    were sent with the request; errors do not repeat them. ``base_path`` is the path of the platform's url.
    """

    request: Request
    url: str
    status_code: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    next_link: str | None = None
    monitor_link: str | None = None
    secrets: Sequence[Secret] = field(default=(), repr=False)
    base_path: str = ""

    @property
    def is_json_object(self) -> bool:
        """Whether the body begins as a JSON object, so that the platform sent it, and no intermediary."""
        return self.body.lstrip()[:1] == b"{"

    def parse(self, read: Callable[[object], T], *, salvage: bool = False) -> T:
        """
        Return the JSON body as read by ``read``, a function of ``wire``. With ``salvage``, invalid JSON in one item of a list
        does not cost the others. Raises ProtocolError for an invalid response.
        """
        # Raised outside the parser: its frames hold the body, which may be a token.
        parsed, reason = self._parsed(read, salvage=salvage)
        if parsed is None:
            self.reject(reason)
        return parsed[0]

    def _parsed(self, read: Callable[[object], T], *, salvage: bool = False) -> tuple[tuple[T] | None, str]:
        if sum(map(self.body.count, (b"{", b"[", b'"'))) > MAX_JSON_VALUES or self.body.count(b",") > MAX_JSON_COMMAS:
            return None, "it has more values than any response of the protocol"
        try:
            return (read(self._json(salvage=salvage)),), ""
        except wire.MalformedResponse as error:
            return None, self.masked(str(error))
        except (ValueError, RecursionError):
            return None, self._kind()

    def _json(self, *, salvage: bool) -> object:
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            if not salvage:
                raise
            return salvaged(self.body)

    def masked(self, text: str) -> str:
        """Return a text that may quote the response, without the secrets of the request."""
        return masked(text, self.secrets)

    def next_page(self) -> str | None:
        """Return path and query of a list's next page. The host of the link is ignored: requests go to the platform only."""
        if self.next_link is None:
            return None
        path = self._path_of(self.next_link)
        if path is None:
            self.reject("the link to its next page is not a valid URL")
        return path

    def cursor(self) -> Cursor | None:
        """Return the response's place in the change feed, if the platform offers a feed. A malformed offer is ignored."""
        path = None if self.monitor_link is None else self._path_of(self.monitor_link)
        return None if path is None else wire.cursor(path)

    def extensions(self) -> frozenset[str]:
        """Return the names of the extensions of the protocol that the response offers."""
        offered = self.headers.get("sfjobs-extensions", "").split(",")
        return frozenset(name.strip().lower() for name in offered if name.strip())

    def _path_of(self, link: str) -> str | None:
        return path_of(link, url=self.url, path=self.request.path, base_path=self.base_path)

    def reject(self, reason: str) -> NoReturn:
        """Raise ProtocolError: the response is not what a platform sends."""
        raise self._invalid(reason)

    def _invalid(self, reason: str) -> ProtocolError:
        method, url = self.request.method, self.url
        message = f"{method} {url} returned status {self.status_code}, but the response is invalid: {reason}"
        error = ProtocolError(message, method=method, url=url)
        error.reason = reason
        return error

    def reject_html(self) -> None:
        """Reject an HTML page with a success status, where no body is read: an intermediary sent it, not the platform."""
        if self.headers.get("content-type", "").lstrip().lower().startswith("text/html"):
            self.reject("an HTML page")

    def check_status(self) -> None:
        """Raise the error that the status means, or NotModified. A success other than ``expect`` is a ProtocolError."""
        status = self.status_code
        if status == 304 and "If-None-Match" in self.request.headers:
            raise NotModified
        if self.request.expect is not None and 200 <= status < 300 and status not in self.request.expect:
            self.reject(f"only {', '.join(map(str, sorted(self.request.expect)))} means success here")
        if 200 <= status < 300:
            return
        if status in redirects.STATUSES:
            raise self._redirected()
        if not 400 <= status < 600:
            self.reject(self._kind())
        raise self.error()

    def error(self) -> ResponseError:
        """Return the error that this response means."""
        fields, reason = self._parsed(wire.error_fields)
        return response_error(
            self.request.method,
            self.url,
            self.status_code,
            ("", reason if self.body else "", {}) if fields is None else masked_fields(fields[0], self.secrets),
            retry_after=retry_after(self.headers.get("retry-after"), self.headers.get("date")),
        )

    def _redirected(self) -> ProtocolError:
        """
        Return the error of a redirect that is not followed. Only its host is shown: path and query may repeat the request. It is
        not transient.
        """
        to = redirects.destination(self.url, self.headers.get("location"), self.base_path)
        origin = "" if to is None else self.masked(to.origin[:200])
        path = self.request.path.partition("?")[0]
        url = "" if to is None else self.masked(redirects.platform_url(to, path)[:200])
        is_other_url = self.url.partition("?")[0] != f"{url}{path}"
        if to is None:
            error = self._invalid("a redirect to an invalid address\nCheck url (SFJOBS_URL).")
        elif not to.is_same_platform:
            outside = f", outside of the path {self.base_path}" if origin == redirects.origin_of(self.url) else ""
            reason = f"a redirect to {origin}{outside}, another party, to which no token is sent"
            error = self._invalid(f"{reason}\nIf that is the platform, set url (SFJOBS_URL) to {url}")
        elif self.request.method == "GET":
            error = self._invalid("too many redirects, one after the other")
        elif is_other_url:
            where = "another path" if origin == redirects.origin_of(self.url) else origin
            reason = f"a redirect to {where}, which is followed for GET only"
            error = self._invalid(f"{reason}\nSet url (SFJOBS_URL) to {url}")
        else:
            error = self._invalid("a redirect to another path, which is followed for GET only\nCheck url (SFJOBS_URL).")
        # These two say that nothing was done here (RFC 9110, 15.4). After 301, 302 and 303 a POST may have been processed.
        error.sent = self.status_code not in (307, 308)
        error.is_lasting = True
        return error

    def _kind(self) -> str:
        """The kind of a body that is not JSON."""
        if not self.body:
            return "an empty body instead of JSON"
        media_type = _MEDIA_TYPE.match(self.headers.get("content-type", ""))
        kind = self.masked(media_type[0]) if media_type else "a body without type"
        if self.request.path.endswith("/openid-connect/token"):  # never quoted, not even when it is malformed
            return f"{kind} instead of JSON"
        start = self.masked(self.body[:60].decode("utf-8", "replace"))
        return f"{kind} that starts with {start!r} instead of JSON"


def response_error(
    method: str,
    url: str,
    status_code: int,
    fields: wire.ErrorFields,
    *,
    retry_after: float | None = None,
) -> ResponseError:
    """Return the error that a response with this status means."""
    code, detail, meta = fields
    error_type = _ERROR_TYPES.get(status_code, ServerError if status_code >= 500 else ResponseError)
    reason = ": ".join(word for word in (code, detail) if word)
    return error_type(
        f"{method} {url} was refused with status {status_code}" + (f": {reason}" if reason else ""),
        method=method,
        url=url,
        status_code=status_code,
        code=code,
        detail=detail,
        meta=meta,
        retry_after=retry_after,
    )
