"""A minimal HTTP/1.1 server for well-behaved clients: heads, bodies with a length, and chunks for streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

from .messages import Request
from .protocol import KEEP_ALIVE_SECONDS, Answer, Platform, Subscription
from .sapi import Held

_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nserver: fast\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


class Talk(asyncio.Protocol):
    """One connection of a client. ``playing`` is the current platform."""

    def __init__(self, playing: Callable[[], Platform]) -> None:
        self._playing = playing
        self._buffer = b""
        self._stream: Stream | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport is not a subclass of it
        self._platform = self._playing()
        self._platform.tally.connections += 1
        rtt = self._platform.scenario.rtt
        self._is_open = not rtt
        if rtt:  # a handshake also takes one round trip
            asyncio.get_running_loop().call_later(rtt, self._open)

    def data_received(self, data: bytes) -> None:
        self._platform.tally.bytes_in += len(data)
        self._buffer = self._buffer + data if self._buffer else data
        if self._is_open:
            self._take_all()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._stream is not None:
            self._stream.close()

    def write(self, data: bytes) -> None:
        self._platform.tally.bytes_out += len(data)
        self._transport.write(data)

    def _open(self) -> None:
        self._is_open = True
        self._take_all()

    def _take_all(self) -> None:
        while (request := self._take()) is not None:
            self._platform.arrive(request, self._reply)

    def _take(self) -> Request | None:
        """Return the next whole request in the buffer."""
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        line, _, head = buffer[:end].partition(b"\r\n")
        head = b"\r\n" + head.lower()
        length, start = 0, head.find(b"\r\ncontent-length:")
        if start >= 0:
            length = int(head[start + 17 :].split(b"\r\n", 1)[0])
        total = end + 4 + length
        if len(buffer) < total:
            return None
        self._buffer = buffer[total:]
        method, target, _ = line.split(b" ")
        path, _, query = target.partition(b"?")
        return Request(method, path, query, head, buffer[end + 4 : total])

    def _reply(self, answer: Answer) -> None:
        if isinstance(answer, Subscription):
            self._stream = Stream(self, self._platform, answer)
        elif isinstance(answer, Held):
            Waiting(self, self._platform, answer)
        else:
            self._platform.way_out.put(self.write, answer)


class Waiting:
    """A long poll: its response is sent after a change or at its timeout."""

    def __init__(self, talk: Talk, platform: Platform, held: Held) -> None:
        self._talk = talk
        self._platform = platform
        self._held = held
        self._timer = asyncio.get_running_loop().call_later(held.seconds, self._try, True)
        platform.on_change[self._try] = None
        self._try()

    def _try(self, time_is_up: bool = False) -> None:
        answer = self._held.answer(time_is_up)
        if answer is not None:
            self._timer.cancel()
            self._platform.on_change.pop(self._try, None)
            self._platform.way_out.put(self._talk.write, answer)


class Stream:
    """A connection that receives the changes from now on."""

    def __init__(self, talk: Talk, platform: Platform, subscription: Subscription) -> None:
        self._talk = talk
        self._platform = platform
        self._after = subscription.after
        self._loop = asyncio.get_running_loop()
        self._keep_alive: asyncio.TimerHandle | None = None
        platform.way_out.put(talk.write, _STREAM_HEAD)
        self._send(b"retry: 1000\n\n" + subscription.hello)
        platform.on_change[self.send_changes] = None
        self.send_changes()

    def send_changes(self) -> None:
        """Send the new changes."""
        newest = self._platform.board.newest_change
        if newest > self._after:
            self._send(self._platform.board.events(self._after))
            self._after = newest

    def close(self) -> None:
        self._platform.on_change.pop(self.send_changes, None)
        if self._keep_alive is not None:
            self._keep_alive.cancel()

    def _send(self, events: bytes) -> None:
        if self._keep_alive is not None:
            self._keep_alive.cancel()
        self._keep_alive = self._loop.call_later(KEEP_ALIVE_SECONDS, self._send, b":\n\n")
        self._platform.way_out.put(self._talk.write, b"%x\r\n%s\r\n" % (len(events), events))
