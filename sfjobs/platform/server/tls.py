"""
TLS on accepted connections: counted before the handshake, which has a deadline. A certificate that was renewed is read again
without a restart.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Final

from ...errors import ConfigurationError
from .address import Certificate, certificate
from .connections import ConnectionCount

HANDSHAKE_TIMEOUT_SECONDS = 10.0
_log = logging.getLogger(__name__)
_ACCEPT_RETRY_SECONDS: Final = 1.0
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


class TLSListener:
    """
    Accepts the connections of a listening socket. ``make_protocol`` gives the protocol of a connection whose handshake is done;
    its argument is to be called at the end of the connection.
    """

    def __init__(
        self,
        listener: socket.socket,
        context: ssl.SSLContext,
        connections: ConnectionCount,
        make_protocol: Callable[[Callable[[], None]], asyncio.Protocol],
    ) -> None:
        self._listener = listener
        self._context = context
        self._connections = connections
        self._make_protocol = make_protocol
        self._handshakes: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Accept connections until this is cancelled."""
        loop = asyncio.get_running_loop()
        self._listener.setblocking(False)
        try:
            while True:
                try:
                    connection, peer = await loop.sock_accept(self._listener)
                except OSError as error:
                    _log.error("no connection can be accepted, trying again in %g s: %s", _ACCEPT_RETRY_SECONDS, error)
                    await asyncio.sleep(_ACCEPT_RETRY_SECONDS)
                    continue
                address = str(peer[0])
                if self._connections.enter(address) is not None:
                    connection.close()  # without a handshake no response can be sent
                    continue
                task = loop.create_task(self._shake_hands(connection, address))
                self._handshakes.add(task)
                task.add_done_callback(self._handshakes.discard)
        finally:
            for task in self._handshakes:
                task.cancel()

    async def _shake_hands(self, connection: socket.socket, address: str) -> None:
        is_counted = True

        def leave() -> None:
            nonlocal is_counted
            if is_counted:
                is_counted = False
                self._connections.leave(address)

        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._make_protocol(leave),
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_SECONDS,
                ssl_shutdown_timeout=HANDSHAKE_TIMEOUT_SECONDS,
            )
        except BaseException as error:
            leave()
            connection.close()
            if not isinstance(error, _FAILURES):
                raise
            _log.debug("no TLS with %s: %s", address, error)


def address_of(transport: asyncio.BaseTransport) -> str:
    """Return the address of the other side, without the port."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) and peer else "unknown"
