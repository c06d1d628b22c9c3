"""
httpx's own client, for what does not go over connections of our own: proxies, given transports, the setting ``http = "httpx"``,
and an httpx that a test or an instrumentation has patched. ``adapter`` uses it.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import httpx

from .._util.aio import most_urgent
from . import name_lookup, patches
from .failures import is_of_the_network
from .http11 import KEEP_ALIVE_SECONDS
from .proxies import EnvironmentProxy


class HTTPXClients:
    """
    An ``httpx.AsyncClient``, made for the first request that needs it, and anew when its class was replaced or its way to a
    transport was patched since.
    """

    def __init__(
        self,
        width: int,
        *,
        context: ssl.SSLContext | None,
        proxy: EnvironmentProxy | None,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        limits = httpx.Limits(
            max_connections=width, max_keepalive_connections=width, keepalive_expiry=KEEP_ALIVE_SECONDS
        )
        self._options: dict[str, Any] = {"verify": context or False, "trust_env": False, "limits": limits}
        if transport is not None:
            self._options["transport"] = transport
        self._proxy = proxy
        self._is_ours = transport is None
        self._client: httpx.AsyncClient | None = None
        self._clients: list[httpx.AsyncClient] = []
        self._made_by: list[object] = []
        self._in_flight: set[anyio.CancelScope] = set()
        if proxy is not None:
            self._current()  # a proxy that cannot be used is found before anything is sent

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return the response when its head has arrived."""
        client = self._current()
        if self._is_ours and not patches.client_and_transport.is_patched():
            host = request.url.host if self._proxy is None else self._proxy.host
            with anyio.move_on_after(request.extensions.get("timeout", {}).get("connect")) as scope:
                await name_lookup.wait_until_answered(host)
            if scope.cancelled_caught:
                raise httpx.ConnectTimeout("")
        with self.until_closed():
            return await client.send(request, stream=True)

    @contextmanager
    def until_closed(self) -> Iterator[None]:
        """Raise httpx.ReadError in the block when the clients are closed. httpx waits for the read timeout of each request."""
        with anyio.CancelScope() as scope:
            self._in_flight.add(scope)
            try:
                yield
            finally:
                self._in_flight.discard(scope)
        if scope.cancelled_caught:
            raise httpx.ReadError("the connection was closed")

    async def aclose(self) -> None:
        """Close all clients. What is in flight ends at once."""
        for scope in self._in_flight:
            scope.cancel()
        while self._clients:
            try:
                await self._clients.pop().aclose()
            except Exception as error:
                if not is_of_the_network(most_urgent(error)):
                    raise

    def _current(self) -> httpx.AsyncClient:
        if self._client is None or not patches.are_same(self._made_by, patches.makers()):
            self._client = self._new()
            self._clients.append(self._client)
            self._made_by = patches.makers()  # the first client loads httpcore
        return self._client

    def _new(self) -> httpx.AsyncClient:
        """Return a client, through a proxy of the environment. Raises ConfigurationError."""
        if self._proxy is None:
            return httpx.AsyncClient(**self._options)
        proxy, address = self._proxy, self._proxy.checked_address()
        try:
            return httpx.AsyncClient(proxy=httpx.Proxy(address.reveal()), **self._options)
        except ImportError:
            error = proxy.unusable("SOCKS needs a package that is not installed", "Run: pip install 'sfjobs[socks]'")
        except (ValueError, TypeError, httpx.InvalidURL):
            error = proxy.unusable("httpx does not accept it")
        raise error  # outside of the handlers: the exceptions above quote the address, which may hold a password
