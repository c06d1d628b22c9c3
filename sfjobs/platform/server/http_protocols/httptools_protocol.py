"""The HTTP protocol on httptools, whose parser has no limit for the size of a request head."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ...errors import ApiError
from .connection import ConnectionLimits


class LimitedHttpToolsProtocol(ConnectionLimits, HttpToolsProtocol):
    """
    Closes a connection whose request head is too long, or does not come. Without this the parser would collect a head for ever,
    and also the trailers after the last chunk of a body. Two counts are needed: bytes that came without completing anything, and
    fields of a head that came in one piece with its end.
    """

    _unfinished_bytes = 0
    _field_bytes = 0
    _in_head = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._max_head_bytes = self.config.h11_max_incomplete_event_size or 0

    def data_received(self, data: bytes) -> None:
        self._unfinished_bytes += len(data)
        super().data_received(data)
        if self._unfinished_bytes > self._max_head_bytes and not self.transport.is_closing():
            self._refuse(self._too_long())

    def send_400_response(self, msg: str) -> None:
        is_too_long = self._field_bytes > self._max_head_bytes
        self._refuse(self._too_long() if is_too_long else ApiError(400, "invalid-request", msg))

    def on_message_begin(self) -> None:
        self._in_head, self._field_bytes = True, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        if self._in_head:  # otherwise it is a trailer after the body, where no proxy looks for a header
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._unfinished_bytes = False, 0
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            # A proxy may take another one for the right one (RFC 9112, section 3.2). h11 checks this by itself.
            raise ValueError("the request must have one Host header")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unfinished_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unfinished_bytes = 0
        super().on_message_complete()

    def _count(self, size: int) -> None:
        self._field_bytes += size
        if self._field_bytes > self._max_head_bytes:
            raise ValueError("the request head is too long")  # the parser then calls ``send_400_response``

    def _too_long(self) -> ApiError:
        detail = f"The head of the request is longer than the {self._max_head_bytes} bytes allowed."
        return ApiError(431, "head-too-large", detail)

    def _is_responding(self) -> bool:
        # With pipelined requests, ``cycle`` is the last of them while the first is being answered.
        return bool(self.pipeline) or super()._is_responding()
