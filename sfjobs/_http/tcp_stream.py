"""
A non-blocking TCP socket, with or without TLS, whose operations can be cancelled at any time. ``http11`` uses it.

The socket is our own, not anyio's stream, because it is only used between two awaits: a task that is cancelled while it waits
has read nothing, and the next read, in any task, continues there. It also costs half: measured on asyncio 20 µs of CPU for a
request and its response instead of 40 (trio: 15 either way), since asyncio's transports allocate 256 KiB for every read and
anyio's stream stops and starts them around it.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Sequence
from functools import partial
from itertools import zip_longest
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel

from .._util.aio import in_daemon_thread, plain_task_group

Address: TypeAlias = tuple[socket.AddressFamily, Any]
"""An address family and an address for ``socket.connect``."""

NEXT_ADDRESS_DELAY_SECONDS = 0.25
"""Head start of one address of a host before the next one is tried in parallel (RFC 8305)."""

YIELD_BYTES = 2**20
"""Bytes that are read without waiting before other tasks of the loop run."""


class TCPStream:
    """A connected socket. Reading and writing raise OSError, and anyio.ClosedResourceError once it has been closed."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._tls = sock if isinstance(sock, ssl.SSLSocket) else None
        self._wait_for_space = anyio.wait_writable
        self._bytes_since_yield = 0
        self._closed = False

    async def receive(self, max_bytes: int) -> bytes:
        """Return up to ``max_bytes`` as soon as there are any, ``b""`` at the end. Loses no bytes when cancelled."""
        while True:
            await self._until_readable()
            try:
                return self._sock.recv(max_bytes)
            except (BlockingIOError, ssl.SSLWantReadError):
                continue
            except ssl.SSLWantWriteError:
                await anyio.wait_writable(self._sock)

    async def receive_into(self, buffer: memoryview) -> int:
        """Receive into the start of ``buffer``. Returns the number of bytes. Does not wait for bytes that have arrived."""
        if self._bytes_since_yield >= YIELD_BYTES:
            self._bytes_since_yield = 0
            await anyio.lowlevel.checkpoint()  # before a read, whose bytes a cancelled task would lose
        buffer = buffer[:YIELD_BYTES]
        while True:
            self._check_open()
            try:
                count = self._sock.recv_into(buffer) if self._tls is None else _decrypt_into(self._tls, buffer)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._bytes_since_yield = 0
                await anyio.wait_readable(self._sock)
            except ssl.SSLWantWriteError:
                await anyio.wait_writable(self._sock)
            else:
                self._bytes_since_yield += count
                return count

    def send_some(self, data: bytes | memoryview) -> int:
        """Send as much as the socket accepts. Returns the number of bytes. After 0, ``wait_for_space`` and send the same."""
        self._check_open()
        try:
            return self._sock.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError):
            self._wait_for_space = anyio.wait_writable
        except ssl.SSLWantReadError:
            self._wait_for_space = anyio.wait_readable
        return 0

    async def wait_for_space(self) -> None:
        """Wait until the socket accepts more bytes."""
        self._check_open()
        await self._wait_for_space(self._sock)

    def _check_open(self) -> None:
        if self._closed:
            raise anyio.ClosedResourceError

    async def _until_readable(self) -> None:
        self._check_open()
        if self._tls is not None and self._tls.pending():
            await anyio.lowlevel.checkpoint()
        else:
            await anyio.wait_readable(self._sock)

    def is_quiet(self) -> bool:
        """Whether neither bytes nor the end have arrived. Between two requests, either makes the connection unusable."""
        if self._tls is not None and self._tls.pending():
            return False
        try:
            socket.socket.recv(self._sock, 1, socket.MSG_PEEK)  # below TLS, whose own recv takes no flags
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close at once, without a TLS shutdown. Reads and writes in other tasks raise ClosedResourceError."""
        if not self._closed:
            self._closed = True
            anyio.notify_closing(self._sock)
            self._sock.close()


def _decrypt_into(sock: ssl.SSLSocket, buffer: memoryview) -> int:
    """Read all records that have arrived, of at most 16 KiB each. A call for each costs as much as to decrypt it."""
    count = size = sock.recv_into(buffer)
    try:
        while size and count < len(buffer):
            size = sock.recv_into(buffer[count:])
            count += size
    except OSError:
        pass  # the next call finds the reason
    return count


async def connect(host: str, port: int, context: ssl.SSLContext | None) -> TCPStream:
    """Connect to the first address of ``host`` that accepts, through TLS with a ``context``. Raises OSError."""
    sock = await _connect_to_first(await _addresses(host, port))
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is None:
            return TCPStream(sock)
        sock = secured = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        await _shake_hands(secured)
        return TCPStream(secured)
    except BaseException:
        sock.close()
        raise


async def _shake_hands(secured: ssl.SSLSocket) -> None:
    while True:
        try:
            secured.do_handshake()
        except ssl.SSLWantReadError:
            await anyio.wait_readable(secured)
        except ssl.SSLWantWriteError:
            await anyio.wait_writable(secured)
        else:
            return


async def _addresses(host: str, port: int) -> Sequence[Address]:
    """All addresses of a host. The families alternate, beginning with the one that the system prefers."""
    addresses = [(family, address) for family, _, _, _, address in await _resolved(host, port)]
    preferred = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    return [address for pair in zip_longest(preferred, others) for address in pair if address is not None]


async def _resolved(host: str, port: int) -> Sequence[tuple[Any, ...]]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return await in_daemon_thread(partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM))
    except UnicodeError as error:
        raise OSError(f"{host} is not a valid host name") from error


async def _connect_to_first(addresses: Sequence[Address]) -> socket.socket:
    if len(addresses) == 1:
        return await _connect_to(addresses[0])
    connected: list[socket.socket] = []
    failures: list[OSError] = []

    async def attempt(address: Address, ended: anyio.Event) -> None:
        try:
            connected.append(await _connect_to(address))
            group.cancel_scope.cancel()
        except OSError as error:
            failures.append(error)
        finally:
            ended.set()

    try:
        async with plain_task_group() as group:
            for address in addresses:
                ended = anyio.Event()
                group.start_soon(attempt, address, ended)
                with anyio.move_on_after(NEXT_ADDRESS_DELAY_SECONDS):
                    await ended.wait()
        if not connected:
            raise OSError("; ".join(str(failure) for failure in failures))
        return connected.pop(0)
    finally:
        for unused in connected:
            unused.close()


async def _connect_to(address: Address) -> socket.socket:
    family, where = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        try:
            sock.connect(where)
        except BlockingIOError:
            await anyio.wait_writable(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, f"{os.strerror(code)}: {where[0]}, port {where[1]}")
    except BaseException:
        sock.close()
        raise
    return sock
