"""
One lane's way to the platform: a request of ours as one of httpx, its answer as it comes, and every failure as one of our own
errors. ``transport`` decides who may send, when and how often. Beside ``direct``, no other file of the client knows httpx.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Protocol, TypeAlias, cast
from urllib.parse import quote_plus

import anyio
import httpx

from .._version import __version__
from ..config import Secret, Settings
from ..errors import ConnectionClosedError, RequestTimeoutError, SFJobsError, TransportError
from . import tracing
from .http11 import KEEP_ALIVE, DirectTransport, ResponseBody
from .messages import Request, Response
from .proxies import may_need_proxy

HTTPTransport: TypeAlias = httpx.AsyncBaseTransport
"""What a connection's ``transport=`` takes: the one place where httpx shows through, a seam for tests."""

LARGEST_ANSWER = 16 * 2**20
"""Bytes. No JSON answer of the protocol comes near it; results are streamed and have a limit of their own."""

_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*", re.ASCII).fullmatch
_ALWAYS = {"User-Agent": f"sfjobs/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}


class HTTPAdapter:
    """
    Sends at most ``width`` requests at a time, which the caller sees to: straight to the platform, or through httpx's own pool
    where a test gives its ``transport`` or the environment a proxy.
    """

    def __init__(self, settings: Settings, width: int, transport: HTTPTransport | None = None) -> None:
        self.settings = settings
        self.is_closed = False
        self._is_direct = False
        self._send: Callable[[httpx.Request], Awaitable[httpx.Response]]
        self._close: Callable[[], Awaitable[None]]
        # Loading the trust store takes 150 ms, which a plain address need not pay.
        secure = settings.url.startswith("https:")
        context = _trust(settings.ca_file) if secure else None
        proxied = may_need_proxy(settings.url)
        if transport is None and not proxied:
            direct = DirectTransport(settings.url, context)
            self._send, self._close = direct.handle_async_request, direct.aclose
            self._is_direct = True
        else:
            limits = httpx.Limits(max_connections=width, max_keepalive_connections=width, keepalive_expiry=KEEP_ALIVE)
            client = httpx.AsyncClient(transport=transport, verify=context or False, trust_env=proxied, limits=limits)
            self._send, self._close = (lambda request: client.send(request, stream=True)), client.aclose

    async def aclose(self) -> None:
        """Ends every connection. Requests still under way fail with ConnectionClosedError."""
        self.is_closed = True
        await self._close()

    async def start(self, request: Request, token: Secret | None, *, endless: bool = False) -> StreamingResponse:
        """
        Sends it and waits for the head of the answer, which the caller has to close. The answer is given up after some silence,
        as the settings say, unless it is ``endless``. Raises TransportError, ConnectionClosedError.
        """
        url = f"{self.settings.url}{request.path}{_query(request.params)}"
        translating = _Translating(self, request)
        silence = None if endless else self.settings.read_timeout
        with translating:
            response = await self._send(self._outgoing(request, url, token, silence))
        return StreamingResponse(translating, url, token, response)

    def _outgoing(self, request: Request, url: str, token: Secret | None, silence: float | None) -> httpx.Request:
        headers = {**_ALWAYS, **request.headers}
        if token is not None:
            headers.update(tracing.headers())
            headers["Accept-Version"] = self.settings.api_version
            headers["Authorization"] = f"Bearer {token.reveal()}"
        patience = self.settings.connect_timeout
        extensions: dict[str, object] = {
            "timeout": {"connect": patience, "read": silence, "write": silence, "pool": silence}
        }
        if self._is_direct and request.params:
            # Parsing a url with the ids of a hundred jobs takes longer than all the rest of the request.
            extensions["target"] = url.removeprefix(self.settings.url).encode()
            url = self.settings.url + request.path
        return httpx.Request(
            request.method, _parsed(url), headers=headers, content=request.content, extensions=extensions
        )


def _trust(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


@lru_cache(maxsize=64)
def _parsed(url: str) -> httpx.URL:
    """Kept, since a client asks for the same few again and again."""
    return httpx.URL(url)


def _query(params: Sequence[tuple[str, str]]) -> str:
    if not params:
        return ""
    return "?" + "&".join([f"{name}={value if _PLAIN(value) else quote_plus(value)}" for name, value in params])


class StreamingResponse:
    """An answer whose head has come."""

    def __init__(self, translating: _Translating, url: str, token: Secret | None, response: httpx.Response) -> None:
        self._translating = translating
        self._url = url
        self.secrets = [secret for secret in (translating.channel.settings.api_key, token) if secret is not None]
        """What the platform has, and should not repeat."""
        self._response = response
        self._body: _Source | None = None

    @property
    def status_code(self) -> int:
        return self._response.status_code

    @property
    def is_resumable(self) -> bool:
        """Whether a cancelled ``read`` has taken nothing, so that the next one, which may be another task's, goes on there."""
        return isinstance(self._response.stream, ResponseBody)

    def answer(self, body: bytes = b"") -> Response:
        response = self._response
        links = response.links if "link" in response.headers else {}
        return Response(
            request=self._translating.request,
            url=self._url,
            status_code=response.status_code,
            headers=response.headers,
            body=self._without_secrets(body),
            next_link=links.get("next", {}).get("url"),
            monitor_link=links.get("monitor", {}).get("url"),
        )

    def _without_secrets(self, body: bytes) -> bytes:
        """A platform or proxy may repeat in an error what it was sent; errors quote bodies and end in logs."""
        for secret in self.secrets:
            body = body.replace(secret.reveal().encode(), b"***")
        return body

    async def read(self) -> bytes:
        """
        The next bytes of the body as they came, ``b""`` at its end. A cancelled read ends it, unless it ``is_resumable``. Raises
        TransportError, ConnectionClosedError, ProtocolError.
        """
        with self._translating:
            return await self._opened().read()

    async def read_into(self, room: memoryview) -> int:
        """As ``read``, into some of ``room``; says how much, 0 at the end. Not to be mixed with ``read``."""
        with self._translating:
            return await self._opened().read_into(room)

    def _opened(self) -> _Source:
        if self._body is None:
            self._body = self._source()
        return self._body

    def _source(self) -> _Source:
        if self._response.headers.get("content-encoding", "identity") != "identity":
            self.answer().refuse("it is compressed, which was not asked for")
        stream = self._response.stream
        return stream if isinstance(stream, ResponseBody) else _Pulled(self._response)

    async def read_whole(self) -> Response:
        """With all of the body. ProtocolError when that is longer than any answer of the protocol."""
        body, part = bytearray(), b""
        try:
            while part := await self.read():
                body += part
                if len(body) > LARGEST_ANSWER:
                    self.answer().refuse(f"more than {LARGEST_ANSWER} bytes")
            return self.answer(bytes(body))
        finally:
            # A traceback would keep, and show, what has come so far: half a token, or what a platform repeats.
            body, part = bytearray(), b""

    async def aclose(self) -> None:
        """Ends the connection, too, unless the whole body has been read."""
        stream = self._response.stream
        if isinstance(stream, ResponseBody):
            stream.close()
            return
        with anyio.CancelScope(shield=True):
            if self._body is not None:
                await self._body.aclose()
            await self._response.aclose()


class _Source(Protocol):
    async def read(self) -> bytes: ...

    async def read_into(self, room: memoryview) -> int: ...

    async def aclose(self) -> None: ...


class _Pulled:
    """A body from httpx's own streams, which end when a read of them is cancelled."""

    def __init__(self, response: httpx.Response) -> None:
        # Not through the response's own iterators, which drop this one when they are left half-way.
        self._parts = cast("AsyncGenerator[bytes, None]", aiter(cast("AsyncIterable[bytes]", response.stream)))
        self._rest = memoryview(b"")
        self._is_broken = False

    async def read(self) -> bytes:
        if self._is_broken:
            raise httpx.StreamClosed  # the generator itself would say that this was all
        try:
            async for part in self._parts:
                if part:
                    return part
        except BaseException:
            self._is_broken = True
            raise
        return b""

    async def read_into(self, room: memoryview) -> int:
        if not self._rest:
            self._rest = memoryview(await self.read())
        count = min(len(self._rest), len(room))
        room[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

    async def aclose(self) -> None:
        await self._parts.aclose()


class _Translating:
    """httpx's errors as ours. Frames below ours hold headers with the token in them, so no traceback keeps them."""

    __slots__ = ("channel", "request")

    def __init__(self, channel: HTTPAdapter, request: Request) -> None:
        self.channel = channel
        self.request = request

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None or isinstance(error, SFJobsError):
            return
        _without_frames(error)
        is_ours = isinstance(
            error,
            httpx.HTTPError | httpx.StreamError | OSError | anyio.ClosedResourceError | anyio.BrokenResourceError,
        )
        if self.channel.is_closed and (is_ours or isinstance(error, RuntimeError)):
            raise ConnectionClosedError("this connection was closed while a request was under way") from None
        if is_ours:
            raise self._translated(error) from error

    def _translated(self, error: BaseException) -> TransportError:
        request, settings = self.request, self.channel.settings
        sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        if isinstance(error, httpx.TimeoutException):
            silence = settings.read_timeout if sent else settings.connect_timeout
            verb = "was silent" if sent else "could not be reached"
            return timed_out(settings, request, f"the platform {verb} for {silence:g} s", sent=sent)
        url = settings.url + request.path
        what = "the connection broke" if sent else "the platform could not be reached"
        return TransportError(
            f"{request.method} {url}: {what} ({_cause(error)})",
            method=request.method,
            url=url,
            sent=sent,
        )


def timed_out(settings: Settings, request: Request, reason: str, *, sent: bool = True) -> RequestTimeoutError:
    """The error for a request that took too long, in whatever way."""
    url = settings.url + request.path
    return RequestTimeoutError(f"{request.method} {url}: {reason}", method=request.method, url=url, sent=sent)


def _cause(error: BaseException) -> str:
    """What the deepest cause says of itself; httpx's own messages are often empty."""
    for _ in range(10):
        deeper = error.__cause__ or error.__context__
        if deeper is None:
            break
        error = deeper
    return str(error) or type(error).__name__


def _without_frames(error: BaseException) -> None:
    deeper: BaseException | None = error
    seen: set[int] = set()
    while deeper is not None and id(deeper) not in seen:
        seen.add(id(deeper))
        deeper.__traceback__ = None
        deeper = deeper.__cause__ or deeper.__context__
