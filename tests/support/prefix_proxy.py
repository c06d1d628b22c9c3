"""
A gateway that has a platform under a base path: it removes the path from each request, hands the response on as it arrives, and
counts what is not below the path.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class PrefixProxy(ThreadingHTTPServer):
    """``rewrites`` links, as gateways do that know of them, or hands them on as the platform wrote them."""

    daemon_threads = True

    def __init__(self, upstream: str, prefix: str, *, rewrites: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.prefix = prefix
        self.rewrites = rewrites
        self.paths: list[str] = []
        self.outside: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}{self.prefix}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PrefixProxy

    def do_GET(self) -> None:
        server = self.server
        if not self.path.startswith(f"{server.prefix}/"):
            server.outside.append(self.path)
            self.send_error(404)
            return
        path = self.path.removeprefix(server.prefix)
        server.paths.append(f"{self.command} {path.partition('?')[0]}")
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        upstream = http.client.HTTPConnection(server.upstream, timeout=60)
        try:
            upstream.request(self.command, path, body, dict(self.headers.items()))
            self._hand_on(upstream.getresponse())
        except OSError:  # the client has gone
            self.close_connection = True
        finally:
            upstream.close()

    def _hand_on(self, response: http.client.HTTPResponse) -> None:
        self.close_connection = True
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "date", "server"):
                is_link = name.lower() == "link" and self.server.rewrites
                self.send_header(name, value.replace("</", f"<{self.server.prefix}/") if is_link else value)
        self.send_header("Connection", "close")
        self.end_headers()
        while piece := response.read1(65536):
            self.wfile.write(piece)
            self.wfile.flush()

    do_POST = do_PATCH = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        pass


@contextmanager
def prefix_proxy(upstream: str, prefix: str, *, rewrites: bool) -> Iterator[PrefixProxy]:
    """Serve ``upstream`` under ``prefix`` during the block."""
    with PrefixProxy(upstream, prefix, rewrites=rewrites) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
