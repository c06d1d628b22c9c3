"""The decoder of server-sent events, compared with httpx-sse on random streams cut at random places."""

from __future__ import annotations

import random

import httpx
import pytest
from httpx_sse import EventSource

from sfjobs._protocol import sse
from sfjobs._protocol.sse import EventDecoder, ServerEvent

PIECES = [
    *["data: a", "data:b", "data:  two", "data", "data:", "event: job", "event:", "id: 7", "id", "id: ", "retry: 100"],
    *["retry: x", ": a comment", ":", "other: field", "data: é", 'data: {"a": [1, 2]}', "dataa: x", " data: y"],
]


def decoded(*pieces: bytes) -> list[ServerEvent]:
    decoder = EventDecoder()
    return [event for piece in pieces for event in decoder.decode(piece)]


def by_httpx_sse(stream: bytes) -> list[ServerEvent]:
    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=stream)
    events = EventSource(response).iter_sse()
    return [ServerEvent(e.event or "message", e.data.encode(), e.id) for e in events]


def random_stream(draw: random.Random) -> bytes:
    # One kind of line end a stream: httpx-sse takes a lone \r at the end of a piece for a whole one only when more comes.
    end = draw.choice(["\n", "\n", "\r\n", "\r"])
    lines = [draw.choice([*PIECES, "", "", ""]) for _ in range(draw.randint(1, 40))]
    return (end.join(lines) + 2 * end + "data: last" + 2 * end + ":").encode()


def cut(stream: bytes, draw: random.Random) -> list[bytes]:
    places = sorted(draw.randint(0, len(stream)) for _ in range(draw.randint(0, 12)))
    return [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]


@pytest.mark.parametrize("seed", range(300))
def test_it_reads_what_httpx_sse_reads_however_the_stream_is_cut(seed: int) -> None:
    draw = random.Random(seed)
    stream = random_stream(draw)
    assert _with_data(decoded(*cut(stream, draw))) == _with_data(by_httpx_sse(stream))


def _with_data(events: list[ServerEvent]) -> list[ServerEvent]:
    """httpx-sse also gives events without data, which the standard says not to dispatch."""
    return [event for event in events if event.data]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"event: job\nid: 1\ndata: x\n\n", [ServerEvent("job", b"x", "1")]),
        (b"data: a\ndata: b\n\n", [ServerEvent("message", b"a\nb", "")]),
        (b"id: 4\n\ndata: x\n\n", [ServerEvent("message", b"x", "4")]),
        (b"id: 4\ndata: x\n\nid\ndata: y\n\n", [ServerEvent("message", b"x", "4"), ServerEvent("message", b"y", "")]),
        (b"id: 4\0\ndata: x\n\n", [ServerEvent("message", b"x", "")]),
        (b"\xef\xbb\xbfdata: x\n\n", [ServerEvent("message", b"x", "")]),
        (b"retry: 1000\n\n", []),
        (b":\n\n:\n\n", []),
        (b"event: job\n\n", []),
        (b"data: unfinished\n", []),
        (b"\n\n\n\ndata: x\n\n", [ServerEvent("message", b"x", "")]),
        (b"data: x\r\n\r\ndata: y\r\r", [ServerEvent("message", b"x", ""), ServerEvent("message", b"y", "")]),
        (b"data:\n\n", [ServerEvent("message", b"", "")]),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_the_examples_of_the_standard(stream: bytes, events: list[ServerEvent], size: int) -> None:
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert decoded(*pieces, b":") == events


def test_an_event_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    decoder = EventDecoder()
    decoder.decode(b"data: " + b"x" * 900)
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        decoder.decode(b"x" * 200)


@pytest.mark.parametrize("seed", range(50))
def test_any_bytes_are_events_or_none(seed: int) -> None:
    draw = random.Random(seed)
    alphabet = [b"data:", b"id:", b"event:", b"\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b" ", b":", b"x"]
    stream = b"".join(draw.choice(alphabet) for _ in range(200))
    assert decoded(*cut(stream, draw)) == decoded(stream)
