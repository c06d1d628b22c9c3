"""
A platform that accepts every submission and loses some responses, on a real socket, in its own thread. It can kill a client at
one of its requests: before it handles the request, before it sends the response, or some time later.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from tests.benchmarks.fast.board import KEY
from tests.benchmarks.fast.messages import JSON, Request, answered
from tests.benchmarks.fast.protocol import Answer, Platform, Scenario
from tests.benchmarks.fast.wire import Talk

_LOST = b"this response is lost"

Moment = Literal["before the work", "before the response", "after the response"]
MOMENTS: tuple[Moment, ...] = ("before the work", "before the response", "after the response")


@dataclass
class Death:
    """Kills process ``pid`` at its ``requests``-th request from now on, ``delay`` seconds after the ``moment``."""

    pid: int
    requests: int
    moment: Moment
    delay: float

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


class FaultyPlatform(Platform):
    """``loss`` is the share of submissions whose response is lost; ``seed`` decides which."""

    def __init__(self, loop: asyncio.AbstractEventLoop, scenario: Scenario, loss: float, seed: int) -> None:
        super().__init__(loop, scenario)
        self.url = ""
        self.circuits: list[str] = []
        self.names: list[str | None] = []
        self.death: Death | None = None
        self.lost = 0
        self._loss = loss
        self._draw = random.Random(seed)
        self._clock = loop
        board_submit = self.board.submit

        def submit(now: float, fields: Mapping[str, object], key: str | None = None) -> int:
            index = board_submit(now, fields, key)
            if index == len(self.circuits):
                self.circuits.append(str(fields["circuit"]))
                name = fields.get("name")
                self.names.append(None if name is None else str(name))
            return index

        self.board.submit = submit  # type: ignore[method-assign]  # the board itself does not keep programs

    def answer(self, request: Request) -> Answer:
        death = self._death_now()
        if death is not None and death.moment == "before the work":
            death.kill()
            if self._draw.random() < 0.5:
                return _LOST  # it died before the whole request was sent
        if request.path.endswith(b"/circuit"):
            index = self.board.find(request.path.split(b"/")[2])
            circuit = "" if index is None else self.circuits[index]
            return answered(200, json.dumps({"circuit": circuit}).encode(), JSON)
        answer = super().answer(request)
        if death is not None and death.moment == "before the response":
            death.kill()
        if death is not None and death.moment == "after the response":
            self._clock.call_later(death.delay, death.kill)
        if request.method == b"POST" and request.path == b"/jobs" and self._draw.random() < self._loss:
            self.lost += 1
            return _LOST
        return answer

    def _death_now(self) -> Death | None:
        death = self.death
        if death is None:
            return None
        death.requests -= 1
        if death.requests:
            return None
        self.death = None
        return death


class FaultyTalk(Talk):
    def write(self, data: bytes) -> None:
        if data is _LOST:
            self._transport.abort()
        else:
            super().write(data)


@contextmanager
def faulty_platform(*, loss: float, seed: int, batches: bool, keys: bool = True) -> Iterator[FaultyPlatform]:
    loop = asyncio.new_event_loop()
    platform = FaultyPlatform(loop, Scenario(feed=False, batches=batches, keys=keys), loss, seed)
    server = loop.run_until_complete(loop.create_server(lambda: FaultyTalk(lambda: platform), "127.0.0.1", 0))
    platform.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield platform
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


__all__ = ["KEY", "MOMENTS", "Death", "FaultyPlatform", "faulty_platform"]
