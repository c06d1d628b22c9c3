"""
TLS on accepted connections: counted before the handshake, which has a deadline. A certificate that was renewed is read again
without a restart.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Any, Final

from ...errors import ConfigurationError
from .address import Certificate, certificate
from .connections import ConnectionCount

HANDSHAKE_TIMEOUT_SECONDS = 10.0
_log = logging.getLogger(__name__)
_FAILURES: Final = (OSError, asyncio.TimeoutError)  # also of ssl


def server_context(tls: Certificate) -> ssl.SSLContext:
    """Return the context of all connections."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls.chain, tls.key)
    return context


def reload_certificate(context: ssl.SSLContext, tls: Certificate) -> None:
    """Use the files as they are now for new connections. If they cannot be used, say so and keep the certificate."""
    try:
        certificate(tls.chain, tls.key)
        context.load_cert_chain(tls.chain, tls.key)
    except (ConfigurationError, OSError) as error:
        _log.error("the certificate was not read again, and the one before stays in use: %s", error)
    else:
        _log.info("the certificate %s was read again", tls.chain)


class Handshake(asyncio.Protocol):
    """
    A connection until its TLS handshake is done. Then ``make_protocol`` gives the protocol that takes over; it gives the
    connection back to ``connections``.
    """

    def __init__(
        self, context: ssl.SSLContext, connections: ConnectionCount, make_protocol: Callable[[str], asyncio.Protocol]
    ) -> None:
        self._context = context
        self._connections = connections
        self._make_protocol = make_protocol
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: Any) -> None:
        address = address_of(transport)
        if self._connections.enter(address) is not None:
            transport.abort()  # without a handshake no response can be sent
            return
        transport.pause_reading()
        self._task = asyncio.get_running_loop().create_task(self._shake_hands(transport, address))

    async def _shake_hands(self, transport: asyncio.Transport, address: str) -> None:
        early = _EarlyEvents()
        try:
            tls = await asyncio.get_running_loop().start_tls(
                transport,
                early,
                self._context,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_SECONDS,
                ssl_shutdown_timeout=HANDSHAKE_TIMEOUT_SECONDS,
            )
        except BaseException as error:
            self._connections.leave(address)
            transport.abort()
            if not isinstance(error, _FAILURES):
                raise
            _log.debug("no TLS with %s: %s", address, error)
            return
        if tls is None or early.is_lost:
            self._connections.leave(address)
            return
        protocol = self._make_protocol(address)
        tls.set_protocol(protocol)
        protocol.connection_made(tls)
        if early.received:
            protocol.data_received(bytes(early.received))


class _EarlyEvents(asyncio.Protocol):
    """What comes between the end of the handshake and the protocol that takes over: in one packet with it, perhaps."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.is_lost = False

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, _: Exception | None) -> None:
        self.is_lost = True


def address_of(transport: asyncio.BaseTransport) -> str:
    """Return the address of the other side, without the port."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) and peer else "unknown"
