"""
Server-sent events (WHATWG HTML, section 9.2.6) from bytes as they come. No I/O, so that a cancelled read can go on in another
task. ``_tracking.change_feed`` gives the events their meaning.
"""

from __future__ import annotations

from typing import NamedTuple

MAX_EVENT_BYTES = 2**20
"""A job object never comes near it. A stream without an end of an event is not the platform's."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class ServerEvent(NamedTuple):
    """One event. ``id`` is the newest id sent, with this event or an earlier one."""

    name: str
    data: bytes
    id: str


class EventDecoder:
    """Whole events from the pieces of a stream, however they are cut."""

    def __init__(self) -> None:
        self._rest = b""
        self._id = ""
        self._is_at_start = True

    def decode(self, piece: bytes) -> list[ServerEvent]:
        """Return the events that ``piece`` completes, the oldest first. Raises ValueError for one that is too long."""
        text = self._rest + piece
        if self._is_at_start:
            if _BYTE_ORDER_MARK.startswith(text):
                self._rest = text
                return []
            text, self._is_at_start = text.removeprefix(_BYTE_ORDER_MARK), False
        held = b""
        if b"\r" in text:
            if text.endswith(b"\r"):  # it may be the first half of a line's end
                text, held = text[:-1], b"\r"
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *blocks, rest = text.split(b"\n\n")
        if len(rest) > MAX_EVENT_BYTES:
            raise ValueError(f"an event of more than {MAX_EVENT_BYTES} bytes")
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
