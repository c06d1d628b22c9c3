"""
Requests over plain sockets, one in flight on each: the upper bound of the machine, with almost no work in the client. Responses
must have ``content-length``.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import cast

from .fast.board import TARGET, TOKEN

PROGRAM = f"name bench\nversion 1.0\ntarget {TARGET} (shots=100)\n\nSgate(0.5, 0.0) | 0\nMeasureFock() | [0, 1, 2, 3]\n"


def request(method: str, path: str, body: bytes = b"", media_type: str = "application/json") -> bytes:
    """Return a whole request."""
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept-version: 0.4.0\r\nauthorization: Bearer {TOKEN.decode()}\r\n"
    if body:
        head += f"content-type: {media_type}\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def exchange(port: int, requests: Iterator[bytes], connections: int, receive: Callable[[bytes], None]) -> None:
    """Send all requests over this many connections and pass each whole response to ``receive``."""
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        busy = 0
        for _ in range(connections):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if (first := next(requests, None)) is None:
                break
            sock.sendall(first)
            selector.register(sock, selectors.EVENT_READ, bytearray())
            busy += 1
        while busy:
            for key, _ in selector.select():
                sock, buffer = cast("socket.socket", key.fileobj), key.data
                received = sock.recv(1 << 18)
                if not received:
                    raise ConnectionError("the platform hung up")
                buffer += received
                if (length := _length(buffer)) is None or len(buffer) < length:
                    continue
                receive(bytes(buffer[:length]))
                del buffer[:length]
                following = next(requests, None)
                if following is None:
                    selector.unregister(sock)
                    busy -= 1
                else:
                    sock.sendall(following)


def _length(buffer: bytearray) -> int | None:
    """Return the length of the response at the start of the buffer, head and body; None if its head is incomplete."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    start = buffer.find(b"content-length: ", 0, end)
    return end + 4 + (int(buffer[start + 16 : buffer.find(b"\r", start)]) if start >= 0 else 0)
