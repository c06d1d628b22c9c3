"""
A platform that serves large results only: all jobs are complete. The kernel sends the files from its page cache, each connection
has a thread, and sent bytes are counted. It is a process like the fast platform: its first line on standard output is
``{"port": ...}``. It then replies to each command, a line of JSON on standard input, with a line of JSON.

    {"do": "offer", "results": {"job": {"npy": "/path", "npz": "/path"}}, "resumable": true}   resets the counts
    {"do": "cut", "after": 1000}     the next result ends after this many bytes of its body
    {"do": "report"}                 the bytes sent since the offer
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from .board import KEY, TOKEN
from .messages import Request, answered, refused

Format: TypeAlias = Literal["npy", "npz"]

_MEDIA_TYPES: Final = {"npy": "application/x-numpy", "npz": "application/zip"}
_RANGE: Final = re.compile(rb"bytes=(\d+)-(\d*)")
_JOB: Final = (
    b'{"id":"%s","name":null,"status":"complete","target":"simulon_gaussian","language":"blackbird:1.0",'
    b'"created_at":"2026-01-01T00:00:00Z","started_at":"2026-01-01T00:00:00Z","finished_at":"2026-01-01T00:00:01Z",'
    b'"running_time":1.0,"meta":{}}'
)


class Offer:
    """A file and its headers."""

    def __init__(self, path: str, media_type: str, *, resumable: bool) -> None:
        self.path = path
        self.size = Path(path).stat().st_size
        self.etag = b""
        self._head = f"content-type: {media_type}\r\n".encode()
        if resumable:
            with Path(path).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
            self.etag = b'"%s"' % digest.hex()[:32].encode()
            self._head += b"etag: %s\r\naccept-ranges: bytes\r\n" % self.etag
            self._head += b"repr-digest: sha-256=:%s:\r\n" % base64.b64encode(digest)

    def head(self, first: int, last: int, *, is_part: bool) -> bytes:
        line = b"HTTP/1.1 206 Partial Content\r\n" if is_part else b"HTTP/1.1 200 OK\r\n"
        if is_part:
            line += b"content-range: bytes %d-%d/%d\r\n" % (first, last, self.size)
        return b"%s%scontent-length: %d\r\n\r\n" % (line, self._head, last + 1 - first)


@dataclass(frozen=True, slots=True)
class Sending:
    """A head, and the bytes of a file that follow it; the connection ends after ``end``, possibly too early."""

    head: bytes
    path: str
    first: int
    end: int
    is_cut: bool


class Depot:
    """The offered results, and the counts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offers: dict[tuple[str, str], Offer] = {}
        self._cut: int | None = None
        self._begin()

    def do(self, command: Mapping[str, Any]) -> dict[str, object]:
        with self._lock:
            match command["do"]:
                case "offer":
                    resumable = command.get("resumable", True)
                    self._offers = {
                        (job, form): Offer(path, _MEDIA_TYPES[form], resumable=resumable)
                        for job, forms in command["results"].items()
                        for form, path in forms.items()
                    }
                    self._cut = None
                    self._begin()
                    return {"sizes": {f"{job}.{form}": offer.size for (job, form), offer in self._offers.items()}}
                case "cut":
                    self._cut = command["after"]
                    return {"cut": self._cut}
                case "report":
                    return {
                        "bytes": self._bytes,
                        "requests": dict(self._requests),
                        "connections": self._connections,
                        "ranges": self._ranges,
                        "cpu": time.process_time() - self._cpu,
                    }
                case unknown:
                    raise ValueError(f"there is no command {unknown!r}")

    def connected(self) -> None:
        with self._lock:
            self._connections += 1

    def sent(self, count: int) -> None:
        """Count this many sent bytes of a result."""
        with self._lock:
            self._bytes += count

    def answer(self, request: Request) -> bytes | Sending:
        with self._lock:
            if request.path.endswith(b"/openid-connect/token"):
                self._requests["token"] += 1
                right = KEY.encode() in request.body
                return answered(200, _token()) if right else refused(400, "invalid_grant")
            if request.path == b"/healthz":
                self._requests["ping"] += 1
                return answered(200, b"{}")
            if b"bearer " + TOKEN not in (request.header(b"authorization") or b""):
                return refused(401, "unauthenticated")
            _, _, job, *tail = [*request.path.split(b"/"), b"", b""]
            if tail[0] == b"result":
                self._requests["result"] += 1
                return self._result(job.decode(), request)
            self._requests["one"] += 1
            return answered(200, _JOB % job)

    def _result(self, job: str, request: Request) -> bytes | Sending:
        offer = self._offers.get((job, _wanted(request)))
        if offer is None:
            return refused(404, "not-found")
        first, last, is_part = 0, offer.size - 1, False
        found = _RANGE.fullmatch(request.header(b"range") or b"")
        if found is not None and offer.etag and request.header(b"if-range") in (None, offer.etag):
            first, is_part = int(found[1]), True
            last = min(int(found[2] or last), last)
            self._ranges.append([first, last])
            if first > last:
                return refused(416, "range-not-satisfiable", b"content-range: bytes */%d\r\n" % offer.size)
        end = last + 1
        cut, self._cut = self._cut, None
        if cut is not None:
            end = min(end, first + cut)
        return Sending(offer.head(first, last, is_part=is_part), offer.path, first, end, is_cut=end <= last)

    def _begin(self) -> None:
        self._requests: Counter[str] = Counter()
        self._ranges: list[list[int]] = []
        self._connections = 0
        self._bytes = 0
        self._cpu = time.process_time()


class Talk(threading.Thread):
    """One connection of a client, with one request in flight."""

    def __init__(self, depot: Depot, sock: socket.socket) -> None:
        super().__init__(daemon=True)
        self._depot = depot
        self._sock = sock
        self._buffer = b""

    def run(self) -> None:
        self._depot.connected()
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._sock:
            try:
                while (request := self._request()) is not None and self._reply(self._depot.answer(request)):
                    pass
            except ConnectionError:
                pass  # the client has closed the connection

    def _request(self) -> Request | None:
        """Return the next request, or None if the client has closed the connection."""
        head, _, rest = self._until(lambda: b"\r\n\r\n" in self._buffer).partition(b"\r\n\r\n")
        if not head:
            return None
        line, _, head = head.partition(b"\r\n")
        method, target, _ = line.split(b" ")
        path, _, query = target.partition(b"?")
        request = Request(method, path, query, b"\r\n" + head.lower(), b"")
        length = int(request.header(b"content-length") or 0)
        self._buffer = rest
        body = self._until(lambda: len(self._buffer) >= length)[:length]
        self._buffer = self._buffer[length:]
        return Request(method, path, query, request.head, body)

    def _until(self, is_there: Callable[[], bool]) -> bytes:
        while not is_there():
            if not (data := self._sock.recv(1 << 16)):
                return b""
            self._buffer += data
        return self._buffer

    def _reply(self, answer: bytes | Sending) -> bool:
        """Send a response. Return whether the connection stays open."""
        if isinstance(answer, bytes):
            self._sock.sendall(answer)
            return True
        self._sock.sendall(answer.head, socket.MSG_MORE)
        at = answer.first
        with Path(answer.path).open("rb") as file:
            while at < answer.end:
                count = os.sendfile(self._sock.fileno(), file.fileno(), at, min(answer.end - at, 1 << 24))
                self._depot.sent(count)
                at += count
        return not answer.is_cut


def _wanted(request: Request) -> Format:
    """Return the format of this protocol version: arrays in the older, archives in the newer."""
    is_older = (request.header(b"accept-version") or b"0.4.0") < b"0.4"
    return "npy" if is_older or request.header(b"accept") == b"application/x-numpy" else "npz"


def _token() -> bytes:
    return b'{"access_token":"%s","expires_in":3600}' % TOKEN


def main() -> None:
    depot = Depot()
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)

    def accept() -> None:
        while True:
            Talk(depot, listener.accept()[0]).start()

    threading.Thread(target=accept, daemon=True).start()
    for line in sys.stdin:
        print(json.dumps(depot.do(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
