"""
One lane's way to the platform: our request as one of httpx, and which transport sends it. ``transport`` decides when and how
often to send. No file of the client but this one and those that it uses imports httpx.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TypeAlias
from urllib.parse import quote_plus, urlsplit

import httpx

from .._version import __version__
from ..config import Secret, Settings
from ..errors import ConfigurationError, ConnectionClosedError
from . import patches, redirects, tracing
from .failures import ErrorTranslation
from .http11 import DirectTransport
from .httpx_clients import HTTPXClients
from .messages import Request
from .proxies import proxy_for
from .streaming import StreamingResponse
from .trust import tls_context

__all__ = ["HTTPAdapter", "HTTPTransport", "StreamingResponse"]

HTTPTransport: TypeAlias = httpx.AsyncBaseTransport
"""The type of a connection's ``transport=``. No other httpx type is visible to callers."""

_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*", re.ASCII).fullmatch
_COMMON_HEADERS = {"User-Agent": f"sfjobs/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}


class HTTPAdapter:
    """
    Sends requests by the transport that was given, else by connections of our own. Where the environment has a proxy, where the
    setting ``http`` says so, and while httpx is patched, they go through httpx. The caller bounds the concurrent requests to
    ``width``.
    """

    def __init__(
        self, settings: Settings, width: int, transport: HTTPTransport | None = None, *, url: str | None = None
    ) -> None:
        url = url or settings.url
        self.settings = settings
        self.base_path = urlsplit(settings.url).path
        self.is_closed = False
        self._width = width
        self._given_transport = transport
        self._upgraded: dict[str, HTTPAdapter] = {}  # by origin, for redirects from http to https
        self._timeouts = httpx.Timeout(settings.read_timeout, connect=settings.connect_timeout).as_dict()
        self._connect_timeout = httpx.Timeout(None, connect=settings.connect_timeout).as_dict()
        # Loading the trust store takes 150 ms, which plain HTTP need not pay.
        context = _tls_context(settings) if url.startswith("https:") and transport is None else None
        proxy = proxy_for(url) if transport is None else None
        self._direct: DirectTransport | None = None
        if isinstance(transport, DirectTransport):
            self._direct = transport
        elif transport is None and proxy is None and settings.http == "auto":
            self._direct = DirectTransport(context)
        self._patches = patches.client_and_transport if transport is None else patches.client
        self._clients = HTTPXClients(width, context=context, proxy=proxy, transport=transport)

    async def _send(self, request: Request, url: str, token: Secret | None, *, has_timeout: bool) -> StreamingResponse:
        translation = ErrorTranslation(self, request)
        with translation:
            direct = None if self._patches.is_patched() else self._direct
            is_plain = type(direct) is DirectTransport
            message = self._built(request, url, token, has_timeout=has_timeout, is_plain=is_plain)
            response = await (self._clients.send(message) if direct is None else direct.handle_async_request(message))
        return StreamingResponse(translation, url, token, response, self._clients.until_closed)

    async def aclose(self) -> None:
        """Close every connection. Requests in flight fail with ConnectionClosedError."""
        self.is_closed = True
        try:
            if self._direct is not None:
                await self._direct.aclose()
            await self._clients.aclose()
        finally:
            while self._upgraded:
                await self._upgraded.popitem()[1].aclose()

    async def start(self, request: Request, token: Secret | None, *, has_timeout: bool = True) -> StreamingResponse:
        """
        Send a request and return the response once its head has arrived. The caller closes it. ``has_timeout=False`` sets no
        read timeout. A redirect of a GET within the platform is followed. Raises TransportError, ConnectionClosedError.
        """
        url = f"{self.settings.url}{request.path}{_query(request.params)}"
        streaming = await self._send(request, url, token, has_timeout=has_timeout)
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
        """``start`` a GET at the address of a redirect, which has the parameters."""
        return await self._send(replace(request, params=()), url, token, has_timeout=has_timeout)

    def _adapter_of(self, origin: str) -> HTTPAdapter:
        """Return the adapter for this origin: another one for the platform through TLS, where the url is without it."""
        if self.is_closed:
            raise ConnectionClosedError("this connection was closed while a request was in flight")
        if self.settings.url.startswith("https:") or not origin.startswith("https:"):
            return self
        if origin not in self._upgraded:
            self._upgraded[origin] = HTTPAdapter(self.settings, self._width, self._given_transport, url=origin)
        return self._upgraded[origin]

    def _built(
        self, request: Request, url: str, token: Secret | None, *, has_timeout: bool, is_plain: bool
    ) -> httpx.Request:
        try:
            return self._httpx_request(request, url, token, has_timeout=has_timeout, is_plain=is_plain)
        except (ValueError, TypeError, httpx.InvalidURL) as error:
            reason = type(error).__name__  # its message may quote a secret
        raise httpx.LocalProtocolError(f"it has a header or an address that HTTP cannot carry ({reason})")

    def _httpx_request(
        self, request: Request, url: str, token: Secret | None, *, has_timeout: bool, is_plain: bool
    ) -> httpx.Request:
        headers = {**_COMMON_HEADERS, **request.headers}
        if token is not None:
            headers.update(tracing.headers())
            headers["Accept-Version"] = self.settings.api_version
            headers["Authorization"] = f"Bearer {token.reveal()}"
        extensions: dict[str, object] = {"timeout": self._timeouts if has_timeout else self._connect_timeout}
        if is_plain and request.params:
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


_parsed = lru_cache(maxsize=64)(httpx.URL)  # a client requests the same few URLs


def _query(params: Sequence[tuple[str, str]]) -> str:
    if not params:
        return ""
    return "?" + "&".join([f"{name}={value if _PLAIN(value) else quote_plus(value)}" for name, value in params])
