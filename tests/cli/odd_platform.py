"""A platform on a real socket whose records are any JSON text. It shares nothing with the real one but the protocol."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

ID = "abcd0000-0000-4000-8000-000000000000"
TARGET = "X8_01"


class OddPlatform:
    """``job`` and ``device`` are the JSON texts of fields that replace usual ones, by name."""

    def __init__(self) -> None:
        self.job: dict[str, str] = {}
        self.device: dict[str, str] = {}
        self.circuit = "Vac | 0\n"
        self.ids: list[str] = [ID]
        self.requests: list[str] = []
        self.url = ""

    def job_text(self, job_id: str, status: str | None = None) -> str:
        usual = {
            "id": json.dumps(job_id),
            "status": '"complete"',
            "name": '"a name"',
            "target": json.dumps(TARGET),
            "language": '"blackbird:1.0"',
            "created_at": '"2026-01-27T15:15:25.801308Z"',
            "started_at": '"2026-01-27T15:15:26Z"',
            "finished_at": '"2026-01-27T15:15:27Z"',
            "running_time": "0.5",
            "meta": "{}",
        }
        return _object({**usual, **self.job, **({"status": f'"{status}"'} if status else {})})

    def device_text(self) -> str:
        usual = {"target": json.dumps(TARGET), "status": '"online"', "created_at": "null", "expected_uptime": "{}"}
        return _object({**usual, **self.device})

    def respond(self, method: str, path: str) -> tuple[int, bytes]:
        """Return the status and the body of a response."""
        self.requests.append(f"{method} {path}")
        parts = urlsplit(path)
        _, kind, *rest = parts.path.split("/")
        name, tail = (*rest, "", "")[:2]
        if kind == "devices":
            gates = self.device.get("gate_parameters", "{}")
            specification = f'{{"layout": "", "modes": 8, "compiler": [], "gate_parameters": {gates}}}'
            texts = {
                "specifications": specification,
                "certificate": self.device.get("certificate", "{}"),
                "": self.device_text() if name else f'{{"data": [{self.device_text()}]}}',
            }
            return 200, texts[tail].encode("utf-8", "surrogatepass")
        if kind != "jobs":
            return 200, b""
        if method == "POST":
            return 201, self.job_text(ID).encode()
        if method == "PATCH":
            return 204, b""
        if tail == "result":
            file = io.BytesIO()
            np.savez(file, np.array([[0, 1], [1, 0]], dtype=np.uint8))
            return 200, file.getvalue()
        if tail == "circuit":
            return 200, json.dumps({"circuit": self.circuit}).encode()
        if name:
            return 200, self.job_text(name).encode("utf-8", "surrogatepass")
        query = parse_qs(parts.query)
        wanted = [job_id for job_id in query.get("id", self.ids) if job_id in self.ids]
        status = query.get("status", [None])[0]
        listed = ", ".join(self.job_text(job_id, status) for job_id in wanted)
        return 200, f'{{"data": [{listed}]}}'.encode("utf-8", "surrogatepass")


def _object(texts: Mapping[str, str]) -> str:
    fields = ", ".join(f'"{name}": {text}' for name, text in texts.items())
    return f"{{{fields}}}"


@contextmanager
def serving_odd_records() -> Iterator[OddPlatform]:
    platform = OddPlatform()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            status, body = platform.respond(self.command, self.path)
            self.send_response(status)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = respond  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass  # a client that hangs up, as one that is ended by a signal

    server = Server(("127.0.0.1", 0), Handler)
    platform.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield platform
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
