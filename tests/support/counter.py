"""The platform's side of many submissions: what happens to each, and what there was of them, in virtual time."""

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
"""How long a job takes where nothing else is said."""


def circuit(number: int) -> str:
    return f"Sgate({number}) | 0\n"


def circuits(count: int) -> list[str]:
    return [circuit(number) for number in range(count)]


@dataclass
class Counter:
    """The platform's side of the counter: what happens to a submission, and what there was of them."""

    platform: FakePlatform
    latency: float = 0.05
    lasts: Callable[[], float] = lambda: SECONDS
    refuse: Callable[[str], httpx.Response | None] = lambda circuit: None
    taken: list[str] = field(default_factory=list)
    most_unfinished: int = 0
    under_way: int = 0
    most_under_way: int = 0

    @property
    def unfinished(self) -> int:
        return sum(job.now() not in FINAL for job in self.platform.jobs.values())

    async def handle(self, request: httpx.Request) -> httpx.Response | None:
        if request.method != "POST" or request.url.path != "/jobs":
            return None
        if request.headers["authorization"].removeprefix("Bearer ") not in self.platform.valid_tokens:
            return None
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await anyio.sleep(self.latency)
        finally:
            self.under_way -= 1
        if is_batch(request):
            items = [_item(self._outcome(fields)) for fields in json.loads(request.content)]
            answer = httpx.Response(207, json={"data": items})
        else:
            key = {"idempotency_key": request.headers["idempotency-key"]}
            answer = self._outcome({**json.loads(request.content), **key})
        # Whoever is cancelled here has a job that it does not know of.
        await anyio.sleep(self.latency)
        return answer

    def _outcome(self, fields: dict[str, Any]) -> httpx.Response:
        text = fields["circuit"].splitlines()[-1] + "\n"  # without the header that goes with it
        refused = self.refuse(text)
        if refused is not None:
            return refused
        known = len(self.platform.jobs)
        job = self.platform.take(fields, circuit=text, ends_at=anyio.current_time() + self.lasts())
        if len(self.platform.jobs) > known:
            self.taken.append(job.id)
            self.most_unfinished = max(self.most_unfinished, self.unfinished)
        return httpx.Response(201, json=job.json())

    async def acquaint(self, connection: sfjobs.Connection) -> None:
        """Lets the connection see, by one submission, what the platform offers, and forgets that submission."""
        refuse, self.refuse = self.refuse, lambda circuit: None
        await connection.create_job("simulon_gaussian", circuit(-1))
        self.refuse = refuse
        self.taken.clear()
        self.platform.jobs.clear()
        self.platform.requests.clear()
        self.platform.times.clear()
        self.most_unfinished = self.most_under_way = 0


def _item(answer: httpx.Response) -> dict[str, Any]:
    """A single answer as one of a batch."""
    return {"status": answer.status_code, "job" if answer.is_success else "error": answer.json()}


def circuits_of(platform: FakePlatform, items: Sequence[object]) -> list[str]:
    return [platform.jobs[item.id].circuit for item in items if isinstance(item, Job)]


class Numbered:
    """An endless source that counts how many programs were taken."""

    def __init__(self) -> None:
        self.taken = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.taken += 1
        return circuit(self.taken - 1)
