"""One result on a raw socket, with ranges. Its responses break off at any byte and have either framing."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from tests.support.raw_server import Peer, Script

Framing: TypeAlias = Literal["length", "chunks"]
End: TypeAlias = Literal["end", "reset"]

ETAG = '"v1"'


class RangeServer:
    """Scripts for ``raw_server`` that send ``body``. Records the requests and counts the sent bytes of bodies."""

    def __init__(self, body: bytes, framing: Framing = "length") -> None:
        self.requests: list[bytes] = []
        self.sent = 0
        self._body = body
        self._framing = framing

    def response(self, request: bytes) -> tuple[bytes, bytes]:
        """Return head and body of the response to a request."""
        self.requests.append(request)
        wanted = re.search(rb"\r\nrange: bytes=(\d+)-\r\n", request, re.IGNORECASE)
        start = int(wanted[1]) if wanted and b'if-range: "v1"' in request.lower() else 0
        body = self._body[start:]
        lines = [f"HTTP/1.1 {206 if wanted else 200} OK", "Accept-Ranges: bytes", f"ETag: {ETAG}"]
        lines += [f"Content-Length: {len(body)}" if self._framing == "length" else "Transfer-Encoding: chunked"]
        lines += [f"Content-Range: bytes {start}-{len(self._body) - 1}/{len(self._body)}"] if wanted else []
        return "\r\n".join([*lines, "", ""]).encode(), body

    def whole(self) -> Script:
        """Sends whole responses until the client closes the connection."""

        async def script(peer: Peer) -> None:
            while True:
                head, body = self.response(await peer.read_request())
                await peer.send(head)
                await self._send(peer, body)
                if self._framing == "chunks":
                    await peer.send(b"0\r\n\r\n")

        return script

    def cut(self, body_bytes: int, end: End = "end") -> Script:
        """Breaks off after so many bytes of the body."""

        async def script(peer: Peer) -> None:
            head, body = self.response(await peer.read_request())
            await peer.send(head)
            await self._send(peer, body[:body_bytes])
            await _leave(peer, end)

        return script

    def cut_head(self, head_bytes: int, end: End = "end") -> Script:
        """Breaks off after so many bytes of the head."""

        async def script(peer: Peer) -> None:
            head, _ = self.response(await peer.read_request())
            await peer.send(head[:head_bytes])
            await _leave(peer, end)

        return script

    async def _send(self, peer: Peer, body: bytes) -> None:
        for start in range(0, len(body), 50_000):
            piece = body[start : start + 50_000]
            self.sent += len(piece)
            await peer.send(piece if self._framing == "length" else b"%x\r\n%b\r\n" % (len(piece), piece))


async def _leave(peer: Peer, end: End) -> None:
    if end == "reset":
        await peer.reset()
