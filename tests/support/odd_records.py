"""Jobs whose records are odd, in some of the responses of a scripted platform."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from typing import Any

import httpx

from tests.support.fake_platform import FakeJob
from tests.support.feeding_platform import FeedingPlatform

ODD_FIELDS: dict[str, object] = {
    "running_time": "12.5", "created_at": "yesterday", "finished_at": 1.6e9, "meta": [], "name": 17, "language": {},
}  # fmt: skip
"""The job can be read all the same."""

UNREADABLE: dict[str, dict[str, object]] = {
    "the status null": {"status": None},
    "the id null": {"id": None},
}
"""None of these is a job."""

PLACES = ("first", "middle", "last", "all")
SETUPS = ("feed", "list", "single")


def bad_ones(place: str, count: int) -> Collection[int]:
    return {"first": [0], "middle": [count // 2], "last": [count - 1], "all": range(count)}[place]


class OddPlatform(FeedingPlatform):
    """
    ``changes`` has odd fields by job id. ``is_odd`` decides about one response: "list", "single", "feed" or "submission".
    ``garble`` may change the bytes of a response with jobs.
    """

    def __init__(self, setup: str = "list") -> None:
        super().__init__(offers_feed=setup == "feed")
        self.setup = setup
        self.changes: dict[str, dict[str, object]] = {}
        self.is_odd: Callable[[str], bool] = lambda kind: True
        self.garble: Callable[[bytes], bytes] = lambda body: body
        self._kind = "feed"

    def add(self, **fields: Any) -> FakeJob:
        job = super().add(**fields)
        plain = job.json

        def odd() -> dict[str, Any]:
            changed = self.is_odd(self._kind) if job.id in self.changes else False
            return {**plain(), **self.changes[job.id]} if changed else plain()

        job.json = odd  # type: ignore[method-assign]  # this record only
        return job

    def add_many(self, ends: Sequence[float], bad: Collection[int] = (), **changes: object) -> list[FakeJob]:
        jobs = [self.add(ends_at=end) for end in ends]
        self.changes.update((jobs[number].id, changes) for number in bad)
        return jobs

    def _answer(self, request: httpx.Request) -> httpx.Response:
        is_list = (request.method, request.url.path) == ("GET", "/jobs")
        self._kind = "submission" if request.method == "POST" else "list" if is_list else "single"
        try:
            if is_list and self.setup == "single":
                return httpx.Response(404, json={"code": "not-found", "detail": "no list"})
            answer = super()._answer(request)
            if is_list and answer.is_success:
                return httpx.Response(200, content=self.garble(answer.content), headers={
                    name: value for name, value in answer.headers.items() if name == "link"
                })  # fmt: skip
            return answer
        finally:
            self._kind = "feed"


def with_broken_json(job: FakeJob, broken: str) -> Callable[[bytes], bytes]:
    """Return what puts invalid JSON in place of the name of one job in a list."""

    def garble(body: bytes) -> bytes:
        records = [
            json.dumps(item).replace('"name": null', f'"name": {broken}') if item["id"] == job.id else json.dumps(item)
            for item in json.loads(body)["data"]
        ]
        return b'{"data": [%s]}' % ",".join(records).encode("utf-8", "surrogateescape")

    return garble
