"""
Server-sent events (WHATWG HTML, section 9.2.6) from bytes as they come. Sans-io, so that a read may be cancelled and gone on
with by another task; ``feed`` gives the events their meaning.
"""

from __future__ import annotations

from typing import NamedTuple

LARGEST_EVENT = 2**20
"""Bytes. A job object never comes near it: whoever sends more without an end is no platform."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class ServerEvent(NamedTuple):
    """One event; ``id`` is the newest that was sent, with this event or with one before it."""

    name: str
    data: bytes
    id: str


class EventDecoder:
    """Whole events out of whatever pieces a stream arrives in. Raises ValueError for one that does not end."""

    def __init__(self) -> None:
        self._rest = b""
        self._id = ""
        self._begins = True

    def decode(self, piece: bytes) -> list[ServerEvent]:
        """The events that ``piece`` brings to their end, the oldest first."""
        text = self._rest + piece
        if self._begins:
            if _BYTE_ORDER_MARK.startswith(text):
                self._rest = text
                return []
            text, self._begins = text.removeprefix(_BYTE_ORDER_MARK), False
        held = b""
        if b"\r" in text:
            if text.endswith(b"\r"):  # it may be the first half of one line's end
                text, held = text[:-1], b"\r"
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *blocks, rest = text.split(b"\n\n")
        if len(rest) > LARGEST_EVENT:
            raise ValueError(f"an event of more than {LARGEST_EVENT} bytes")
        self._rest = rest + held
        return [event for block in blocks if (event := self._event(block)) is not None]

    def _event(self, block: bytes) -> ServerEvent | None:
        name, data = "message", []
        for line in block.split(b"\n"):
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value.decode("utf-8", "replace")
            elif field == b"id" and b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
        return ServerEvent(name or "message", b"\n".join(data), self._id) if data else None
