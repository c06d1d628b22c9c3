"""
One lane's way to the platform: our request as one of httpx, and the response as a stream. ``transport`` decides when and how
often to send. No file of the client but this one, ``http11`` and ``failures`` imports httpx.
"""

from __future__ import annotations

import contextlib
import os
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any, TypeAlias, cast
from urllib.parse import quote_plus, urlsplit

import anyio
import httpx

from .._util.aio import most_urgent
from .._version import __version__
from ..config import Secret, Settings
from ..errors import (
    ConfigurationError,
    ConnectionClosedError,
    ProtocolError,
    TransportError,
)
from . import redirects, tracing
from .content_coding import ABOUT_THE_CODED_BODY, DecodedBody, PieceBody, can_decode, codings
from .failures import ErrorTranslation, is_of_the_network
from .http11 import KEEP_ALIVE_SECONDS, DirectTransport, ResponseBody
from .messages import Request, Response
from .proxies import EnvironmentProxy, proxy_for
from .trust import tls_context

HTTPTransport: TypeAlias = httpx.AsyncBaseTransport
"""The type of a connection's ``transport=``, which tests replace. No other httpx type is visible to callers."""

MAX_RESPONSE_BYTES = 16 * 2**20
"""No JSON response of the protocol comes near it. Results are streamed and have a limit of their own."""

ERROR_BODY_SECONDS = 5.0
"""Time for the body of an error response, which only adds details to its status."""

_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*", re.ASCII).fullmatch
_COMMON_HEADERS = {"User-Agent": f"sfjobs/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}


class HTTPAdapter:
    """
    Sends requests directly to the platform, or through httpx's pool where a test gives its ``transport`` or the environment a
    proxy. The caller bounds the concurrent requests to ``width``.
    """

    def __init__(
        self, settings: Settings, width: int, transport: HTTPTransport | None = None, *, url: str | None = None
    ) -> None:
        url = url or settings.url
        self.settings = settings
        self.is_closed = False
        self._is_direct = False
        self._width = width
        self.base_path = urlsplit(settings.url).path
        self._given_transport = transport
        self._upgraded: dict[str, HTTPAdapter] = {}  # by origin, for redirects from http to https
        self._timeouts = httpx.Timeout(settings.read_timeout, connect=settings.connect_timeout).as_dict()
        self._connect_timeout = httpx.Timeout(None, connect=settings.connect_timeout).as_dict()
        self._send: Callable[[httpx.Request], Awaitable[httpx.Response]]
        self._close: Callable[[], Awaitable[None]]
        # Loading the trust store takes 150 ms, which plain HTTP need not pay.
        context = _tls_context(settings) if url.startswith("https:") else None
        proxy = proxy_for(url) if transport is None else None
        if transport is None and proxy is None:
            direct = DirectTransport(url, context)
            self._send, self._close = direct.handle_async_request, direct.aclose
            self._is_direct = True
        else:
            limits = httpx.Limits(
                max_connections=width, max_keepalive_connections=width, keepalive_expiry=KEEP_ALIVE_SECONDS
            )
            client = _client(proxy, transport=transport, verify=context or False, trust_env=False, limits=limits)
            self._send, self._close = (lambda request: client.send(request, stream=True)), client.aclose

    async def aclose(self) -> None:
        """Close every connection. Requests in flight fail with ConnectionClosedError."""
        self.is_closed = True
        try:
            await self._close()
        except Exception as error:
            if not is_of_the_network(most_urgent(error)):
                raise
        finally:
            while self._upgraded:
                await self._upgraded.popitem()[1].aclose()

    async def start(self, request: Request, token: Secret | None, *, has_timeout: bool = True) -> StreamingResponse:
        """
        Send a request and return the response once its head has arrived. The caller closes it. ``has_timeout=False`` sets no
        read timeout. A redirect of a GET within the platform is followed. Raises TransportError, ConnectionClosedError.
        """
        url = f"{self.settings.url}{request.path}{_query(request.params)}"
        translation = ErrorTranslation(self, request)
        with translation:
            message = self._built(request, url, token, has_timeout=has_timeout)
            response = await self._send(message)
        streaming = StreamingResponse(translation, url, token, response)
        if request.method == "GET" and streaming.status_code in redirects.STATUSES:
            return await self._follow(streaming, request, token, has_timeout=has_timeout)
        return streaming

    async def _follow(
        self, streaming: StreamingResponse, request: Request, token: Secret | None, *, has_timeout: bool
    ) -> StreamingResponse:
        """Follow redirects within the platform. Returns the first response that is none, or that leads elsewhere."""
        for _ in range(redirects.MAX_REDIRECTS):
            to = redirects.destination(streaming.url, streaming.location, self.base_path)
            if streaming.status_code not in redirects.STATUSES or to is None or not to.is_same_platform:
                break
            await streaming.aclose()
            streaming = await self._adapter_of(to.origin).get(request, to.url, token, has_timeout=has_timeout)
        return streaming

    async def get(self, request: Request, url: str, token: Secret | None, *, has_timeout: bool) -> StreamingResponse:
        """``start`` a GET at the address of a redirect."""
        translation = ErrorTranslation(self, request)
        whole = replace(request, params=())  # the address has the parameters
        with translation:
            response = await self._send(self._built(whole, url, token, has_timeout=has_timeout))
        return StreamingResponse(translation, url, token, response)

    def _adapter_of(self, origin: str) -> HTTPAdapter:
        """Return the adapter for this origin: another one for the platform through TLS, where the url is without it."""
        if self.is_closed:
            raise ConnectionClosedError("this connection was closed while a request was in flight")
        if self.settings.url.startswith("https:") or not origin.startswith("https:"):
            return self
        if origin not in self._upgraded:
            self._upgraded[origin] = HTTPAdapter(self.settings, self._width, self._given_transport, url=origin)
        return self._upgraded[origin]

    def _built(self, request: Request, url: str, token: Secret | None, *, has_timeout: bool) -> httpx.Request:
        try:
            return self._httpx_request(request, url, token, has_timeout=has_timeout)
        except (ValueError, TypeError, httpx.InvalidURL) as error:
            reason = type(error).__name__  # its message may quote a secret
        raise httpx.LocalProtocolError(f"it has a header or an address that HTTP cannot carry ({reason})")

    def _httpx_request(self, request: Request, url: str, token: Secret | None, *, has_timeout: bool) -> httpx.Request:
        headers = {**_COMMON_HEADERS, **request.headers}
        if token is not None:
            headers.update(tracing.headers())
            headers["Accept-Version"] = self.settings.api_version
            headers["Authorization"] = f"Bearer {token.reveal()}"
        extensions: dict[str, object] = {"timeout": self._timeouts if has_timeout else self._connect_timeout}
        if self._is_direct and request.params:
            # Parsing a URL with the ids of a hundred jobs takes longer than the rest of the request.
            extensions["target"] = f"{self.base_path}{url.removeprefix(self.settings.url)}".encode()
            url = self.settings.url + request.path
        return httpx.Request(
            request.method, _parsed(url), headers=headers, content=request.content, extensions=extensions
        )


def _tls_context(settings: Settings) -> ssl.SSLContext:
    """Return a context that trusts the authorities of the settings. Raises ConfigurationError."""
    try:
        return tls_context(settings.ca_file)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "it is not valid"
    name = "SSLKEYLOGFILE" if os.environ.get("SSLKEYLOGFILE") else "SSL_CERT_FILE or SSL_CERT_DIR"
    if settings.ca_file is None:
        what = f"The file of {name}, a variable of the environment, cannot be used"
    else:
        what = f"The file of the setting ca_file (from {settings.sources.get('ca_file', 'argument')}) cannot be used"
    raise ConfigurationError(f"{what}: {reason}\nCorrect it, or leave it out.")


def _client(proxy: EnvironmentProxy | None, **options: Any) -> httpx.AsyncClient:
    """Return an httpx client, through a proxy of the environment. Raises ConfigurationError."""
    if proxy is None:
        return httpx.AsyncClient(**options)
    address = proxy.checked_address()
    try:
        return httpx.AsyncClient(proxy=httpx.Proxy(address.reveal()), **options)
    except ImportError:
        error = proxy.unusable("SOCKS needs a package that is not installed", "Run: pip install 'sfjobs[socks]'")
    except (ValueError, TypeError, httpx.InvalidURL):
        error = proxy.unusable("httpx does not accept it")
    raise error  # outside of the handlers: the exceptions above quote the address, which may hold a password


_parsed = lru_cache(maxsize=64)(httpx.URL)  # a client requests the same few URLs


def _query(params: Sequence[tuple[str, str]]) -> str:
    if not params:
        return ""
    return "?" + "&".join([f"{name}={value if _PLAIN(value) else quote_plus(value)}" for name, value in params])


class StreamingResponse:
    """A response whose head has arrived. Where it ``is_resumable``, a cancelled ``read`` loses no bytes."""

    attempts = 1
    """The attempts that it took to get the response."""
    on_close: Callable[[], None] | None = None

    def __init__(self, translation: ErrorTranslation, url: str, token: Secret | None, response: httpx.Response) -> None:
        self._translation = translation
        self.url = url
        self.secrets = [secret for secret in (translation.adapter.settings.api_key, token) if secret is not None]
        """The secrets that were sent, which the response should not repeat."""
        self.status_code = response.status_code
        self._response = response
        self._body: ResponseBody | _HTTPXBody | DecodedBody | None = None

    @property
    def location(self) -> str | None:
        """Where a redirect leads, as the server wrote it."""
        return cast("str | None", self._response.headers.get("location"))

    @property
    def is_resumable(self) -> bool:
        return isinstance(self._response.stream, ResponseBody)

    @cached_property
    def response(self) -> Response:
        """The head of the response, without a body."""
        return self._with_body(b"")

    def _with_body(self, body: bytes) -> Response:
        response = self._response
        links = response.links if "link" in response.headers else {}
        headers = response.headers
        if codings(headers.get("content-encoding")):
            headers = httpx.Headers(
                [(name, value) for name, value in headers.multi_items() if name not in ABOUT_THE_CODED_BODY]
            )
        return Response(
            request=self._translation.request,
            url=self.url,
            status_code=response.status_code,
            headers=headers,
            body=body,
            next_link=links.get("next", {}).get("url"),
            monitor_link=links.get("monitor", {}).get("url"),
            # A platform or proxy may repeat the request in an error. Errors quote bodies and end in logs.
            secrets=self.secrets,
            base_path=self._translation.adapter.base_path,
        )

    async def read(self) -> bytes:
        """
        Return the next bytes of the body, ``b""`` at its end. A cancelled read ends it, unless it ``is_resumable``. Raises
        TransportError, ConnectionClosedError, ProtocolError.
        """
        with self._translation:
            return await self._opened().read()

    async def read_into(self, buffer: memoryview) -> int:
        """Read into the start of ``buffer``. Returns the number of bytes, 0 at the end. Not to be mixed with ``read``."""
        with self._translation:
            return await self._opened().read_into(buffer)

    def _opened(self) -> ResponseBody | _HTTPXBody | DecodedBody:
        if self._body is None:
            stream = self._response.stream
            body = stream if isinstance(stream, ResponseBody) else _HTTPXBody(self._response)
            coded = codings(self._response.headers.get("content-encoding"))
            if coded and not can_decode(coded):
                self.response.reject("it is compressed, which was not requested")
            self._body = DecodedBody(body, coded[0], self.response.reject) if coded else body
        return self._body

    async def read_whole(self) -> Response:
        """
        Return the response with its whole body. Raises ProtocolError for a body over ``MAX_RESPONSE_BYTES``. Where the body of an
        error cannot be read, its status counts without it.
        """
        if self.status_code < 400:
            return await self._with_whole_body()
        with anyio.move_on_after(ERROR_BODY_SECONDS), contextlib.suppress(TransportError, ProtocolError):
            return await self._with_whole_body()
        return self.response

    async def _with_whole_body(self) -> Response:
        body, piece = bytearray(), b""
        try:
            while piece := await self.read():
                body += piece
                if len(body) > MAX_RESPONSE_BYTES:
                    self.response.reject(f"more than {MAX_RESPONSE_BYTES} bytes")
            return self._with_body(bytes(body))
        finally:
            # A traceback would keep, and show, the bytes so far: half a token, or a repeated request.
            body, piece = bytearray(), b""

    async def aclose(self) -> None:
        """Close the connection too, unless the whole body has been read. Idempotent."""
        on_close, self.on_close = self.on_close, None
        if on_close is not None:
            on_close()
        stream = self._response.stream
        if isinstance(stream, ResponseBody):
            stream.close()
            return
        with anyio.CancelScope(shield=True):
            try:
                if self._body is not None:
                    await self._body.aclose()
                await self._response.aclose()
            except Exception as error:
                if not is_of_the_network(most_urgent(error)):
                    raise


class _HTTPXBody(PieceBody):
    """A body from one of httpx's own streams. A cancelled read ends it."""

    def __init__(self, response: httpx.Response) -> None:
        # Not through the response's own iterators, which drop this one when they are left half-way.
        self._pieces = cast("AsyncGenerator[bytes, None]", aiter(cast("AsyncIterable[bytes]", response.stream)))
        self._is_broken = False

    async def read(self) -> bytes:
        if self._is_broken:
            raise httpx.StreamClosed  # the generator would report the end of the body
        try:
            async for piece in self._pieces:
                if piece:
                    return piece
        except BaseException:
            self._is_broken = True
            raise
        return b""

    async def aclose(self) -> None:
        await self._pieces.aclose()
