"""Submissions as the platform sees them: decides what happens to each, and counts them. In virtual time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx

import sfjobs
from sfjobs import Job
from tests.support.fake_platform import FINAL, FakePlatform, is_batch

SECONDS = 5.0
"""How long a job takes by default."""


def circuit(number: int) -> str:
    return f"Sgate({number}) | 0\n"


def circuits(count: int) -> list[str]:
    return [circuit(number) for number in range(count)]


@dataclass
class Counter:
    """
    Handles the submissions of a FakePlatform. ``latency`` is in seconds each way, ``duration`` returns the seconds of a job,
    ``refuse`` may return a response to a program instead of a job.
    """

    platform: FakePlatform
    latency: float = 0.05
    duration: Callable[[], float] = lambda: SECONDS
    refuse: Callable[[str], httpx.Response | None] = lambda circuit: None
    accepted: list[str] = field(default_factory=list)
    most_unfinished: int = 0
    in_flight: int = 0
    most_in_flight: int = 0

    @property
    def unfinished(self) -> int:
        return sum(job.now() not in FINAL for job in self.platform.jobs.values())

    async def handle(self, request: httpx.Request) -> httpx.Response | None:
        if request.method != "POST" or request.url.path != "/jobs":
            return None
        if request.headers["authorization"].removeprefix("Bearer ") not in self.platform.valid_tokens:
            return None
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await anyio.sleep(self.latency)
        finally:
            self.in_flight -= 1
        if is_batch(request):
            items = [_item(self._outcome(fields)) for fields in json.loads(request.content)]
            response = httpx.Response(207, json={"data": items})
        else:
            key = {"idempotency_key": request.headers["idempotency-key"]}
            response = self._outcome({**json.loads(request.content), **key})
        # A client that is cancelled here has a job that it does not know.
        await anyio.sleep(self.latency)
        return response

    def _outcome(self, fields: dict[str, Any]) -> httpx.Response:
        text = fields["circuit"].splitlines()[-1] + "\n"  # without the header
        refused = self.refuse(text)
        if refused is not None:
            return refused
        known = len(self.platform.jobs)
        job = self.platform.take(fields, circuit=text, ends_at=anyio.current_time() + self.duration())
        if len(self.platform.jobs) > known:
            self.accepted.append(job.id)
            self.most_unfinished = max(self.most_unfinished, self.unfinished)
        return httpx.Response(201, json=job.json())

    async def show_offers(self, connection: sfjobs.Connection) -> None:
        """Make one submission, so that the connection sees what the platform offers, and forget it."""
        refuse, self.refuse = self.refuse, lambda circuit: None
        await connection.create_job("simulon_gaussian", circuit(-1))
        self.refuse = refuse
        self.accepted.clear()
        self.platform.jobs.clear()
        self.platform.requests.clear()
        self.platform.times.clear()
        self.most_unfinished = self.most_in_flight = 0


def _item(response: httpx.Response) -> dict[str, Any]:
    """Return a response to one submission as a reply of a batch."""
    return {"status": response.status_code, "job" if response.is_success else "error": response.json()}


def circuits_of(platform: FakePlatform, items: Sequence[object]) -> list[str]:
    return [platform.jobs[item.id].circuit for item in items if isinstance(item, Job)]


class Numbered:
    """An endless source that counts how many programs were read from it."""

    def __init__(self) -> None:
        self.read = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.read += 1
        return circuit(self.read - 1)
