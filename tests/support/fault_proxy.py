"""
A faulty network on real sockets: the server of ``sfjobs.testing`` between client and scripted platform, with one of ``FAULTS``,
for the first attempts or always. All other requests reach the platform, where tests count them.

Faults of connections (``refused``, ``dns``, ``tls``, ``reset on accept``) affect every request; all others affect the requests
that ``strikes`` selects. Scripts are fixed: nothing is random.
"""

from __future__ import annotations

import math
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TypeAlias, cast

import anyio
import httpx
from anyio.abc import TaskGroup, TaskStatus

from sfjobs.testing import Fault, Faults
from sfjobs.testing.answers import Answer, EventPieces, Received
from sfjobs.testing.backend import Backend
from sfjobs.testing.http_server import HTTPServer, listening
from tests.support.fake_platform import FakePlatform
from tests.support.raw_server import tls_context

Strikes: TypeAlias = Callable[[httpx.Request], bool]

OF_SOCKETS: Mapping[str, Fault] = {
    "tls": Fault.no_tls(),
    "reset on accept": Fault.reset("on connect"),
    "reset before response": Fault.reset("before answer", path="*"),
    "reset in response": Fault.reset("in answer", path="*"),
    "reset after response": Fault.reset("after answer", path="*"),
    "no response": Fault.no_answer(path="*"),
    "slow drip": Fault.slow_answer(path="*"),
    "truncated head": Fault.cut_answer("head", path="*"),
    "truncated body": Fault.cut_answer("body", path="*"),
    "garbage": Fault.garbage(path="*"),
    "HTML 200": Fault.page(path="*"),
    "401 storm": Fault.status(401, path="*"),
    "429": Fault.status(429, path="*"),
    "429 seconds": Fault.status(429, headers={"retry-after": "1"}, path="*"),
    "429 date": Fault.status(429, path="*"),
    "500": Fault.status(500, path="*"),
    "502": Fault.status(502, path="*"),
    "503": Fault.status(503, path="*"),
    "504": Fault.status(504, path="*"),
    "cut mid-feed": Fault.feed_cut(ending="reset"),
}
BEFORE_CONNECTING = ("refused", "dns")
"""A server cannot bring these about by itself: the client says when it connects."""

FAULTS = (*BEFORE_CONNECTING, *OF_SOCKETS)


class FaultProxy:
    """
    A proxy to ``platform`` that works until ``break_down`` and again after a number of failures, which ``struck`` counts.
    """

    def __init__(self, platform: FakePlatform, fault: str) -> None:
        self._fault = fault
        self._left = 0.0
        self._struck = 0
        self._faults = SelectedFaults()
        self._faults.is_dated = fault == "429 date"
        self._server = HTTPServer(Proxied(platform, self._faults), tls_context() if fault == "tls" else None)
        self._listening: anyio.CancelScope | None = None
        self._has_closed = anyio.Event()
        self._group: TaskGroup
        self.port = 0

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}" if self._fault == "tls" else f"http://127.0.0.1:{self.port}"

    @property
    def struck(self) -> int:
        return self._struck + self._faults.applied()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FaultProxy]:
        async with anyio.create_task_group() as self._group:
            await self._group.start(self._listen)
            try:
                yield self
            finally:
                self._group.cancel_scope.cancel()

    async def break_down(self, times: float, strikes: Strikes) -> None:
        """From now on the fault strikes ``times``; connections that stand end, so that the next request needs a new one."""
        if self._fault in BEFORE_CONNECTING:
            self._left = times
        else:
            self._faults.strikes = strikes
            self._faults.add(replace(OF_SOCKETS[self._fault], times=None if math.isinf(times) else int(times)))
        await self._server.disconnect()

    async def before_connecting(self) -> None:
        """To be called before each connection is begun, for those faults that no server can bring about by itself."""
        if self._fault == "dns" and self._strike():
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if self._fault != "refused":
            return
        if self._strike():
            await self._close()
        elif self._listening is None:
            await self._group.start(self._listen)

    def _strike(self) -> bool:
        if self._left < 1:
            return False
        self._left -= 1
        self._struck += 1
        return True

    async def _listen(self, *, task_status: TaskStatus[None]) -> None:
        self._has_closed = anyio.Event()
        try:
            with anyio.CancelScope() as scope:
                self._listening = scope
                async with listening(self._server, "127.0.0.1", self.port) as self.port:
                    task_status.started()
                    await anyio.sleep_forever()
        finally:
            self._listening = None
            self._has_closed.set()

    async def _close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await self._has_closed.wait()


class SelectedFaults(Faults):
    """Faults of the requests that ``strikes`` selects. ``is_dated`` answers have a date to retry at, a second away."""

    is_dated = False

    strikes: Strikes = staticmethod(lambda request: True)

    def for_request(self, method: str, path: str) -> list[Fault]:
        if not self.strikes(httpx.Request(method, f"http://platform.test{path}")):
            return []
        found = super().for_request(method, path)
        return [_dated(fault) for fault in found] if self.is_dated else found


def _dated(fault: Fault) -> Fault:
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
    return replace(fault, headers={"retry-after": when})


class Proxied(Backend):
    """Hands requests to the scripted platform of a test."""

    def __init__(self, platform: FakePlatform, faults: Faults) -> None:
        super().__init__(faults, 0.0)
        self._platform = platform

    async def answer(self, request: Received) -> Answer:
        response = await self._platform.handle(
            httpx.Request(
                request.method, f"http://platform.test{request.target}", headers=request.headers, content=request.body
            )
        )
        headers = dict(response.headers)
        if headers.get("content-type") == "text/event-stream":
            return Answer(headers=headers, stream=cast("EventPieces", response.stream))
        return Answer(status=response.status_code, headers=headers, body=await response.aread())
