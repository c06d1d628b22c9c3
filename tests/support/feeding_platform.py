"""
A scripted platform with a change feed: jobs go through stages at given times, each change has a number, and a stream sends it
after half a round trip. Each stream can fail in its own way.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import anyio
import httpx

from tests.support.fake_platform import FINAL, FakeJob, FakePlatform, refusal

Trouble = Literal["cut", "reset", "silence", "garbage", "bye"]


@dataclass
class Stage:
    at: float
    status: str


@dataclass
class StagedJob(FakeJob):
    """``stages`` are the next ones, in order."""

    stages: list[Stage] = field(default_factory=list)
    change: int = 0
    started: bool = False

    def now(self) -> str:
        return self.status

    def json(self) -> dict[str, Any]:
        return {**super().json(), **({"started_at": "2026-01-27T15:15:26.000000Z"} if self.started else {})}


@dataclass
class Script:
    """
    What happens to one stream: refused with ``status``, held back as by a ``buffered`` proxy, or open until ``trouble`` comes
    ``after`` some seconds.
    """

    status: int = 200
    buffered: bool = False
    trouble: Trouble | None = None
    after: float = float("inf")


class FeedingPlatform(FakePlatform):
    """``script`` returns what happens to the n-th stream, from 0."""

    def __init__(self, *, latency: float = 0.0, offers_feed: bool = True) -> None:
        super().__init__(latency=latency)
        self.offers_feed = offers_feed
        self.script: Callable[[int], Script] = lambda number: Script()
        self.streams: list[str | None] = []  # the cursor of each
        self.open_streams = 0
        self.heartbeat = 10.0
        self.epoch = "e1"
        self.oldest = 0
        self._changes = itertools.count(1)
        self._newest = 0
        self._wake = anyio.Event()
        self.sent: list[tuple[str, str]] = []
        self.deleted: list[StagedJob] = []

    # -- what tests set up --

    def stage(self, *stages: tuple[float, str], **fields: Any) -> StagedJob:
        """Add a job that goes through these stages, at these times of the loop."""
        made = super().add(**fields)
        job = StagedJob(**vars(made), stages=[Stage(at, status) for at, status in stages])
        self.jobs[job.id] = job
        self._change(job, job.status)
        return job

    def add(self, **fields: Any) -> FakeJob:
        ends_at, outcome = fields.pop("ends_at", float("inf")), fields.get("outcome", "complete")
        return self.stage((ends_at, outcome), **fields)

    def touch(self, job: StagedJob) -> None:
        """Change the job, but not its status."""
        self._change(job, job.status)

    def delete(self, job: StagedJob) -> None:
        """Delete the job, whatever its status."""
        del self.jobs[job.id]
        self.deleted.append(job)
        self._change(job, job.status)

    def forget_changes(self) -> None:
        """Let all cursors given so far expire."""
        self.oldest = self._newest = next(self._changes)

    # -- the platform itself --

    @property
    def cursor(self) -> str:
        return f"{self.epoch}.{self._newest}"

    def advance(self) -> None:
        """Apply the stages that are due, in order."""
        due = [(stage.at, number, job) for number, job in enumerate(self.staged) for stage in job.stages]
        for at, _, job in sorted(due, key=lambda item: item[:2]):
            if at <= anyio.current_time():
                self._change(job, job.stages.pop(0).status)

    @property
    def staged(self) -> list[StagedJob]:
        return [job for job in self.jobs.values() if isinstance(job, StagedJob)]

    def _change(self, job: StagedJob, status: str) -> None:
        job.status = status
        job.change = self._newest = next(self._changes)
        self._wake.set()
        self._wake = anyio.Event()

    async def handle(self, request: httpx.Request) -> httpx.Response:
        self.advance()
        if request.url.path == "/jobs/changes" and self.offers_feed:
            return await self._open_changes(request)
        response = await super().handle(request)
        is_of_jobs = request.url.path.startswith("/jobs") and not request.url.path.endswith(("/circuit", "/result"))
        if self.offers_feed and is_of_jobs and response.is_success and request.method in ("GET", "POST"):
            link = f'</jobs/changes?since={self.cursor}>; rel="monitor"; type="text/event-stream"'
            response.headers["link"] = ", ".join(filter(None, [response.headers.get("link"), link]))
        return response

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.advance()
        return super()._answer(request)

    def _cancel(self, job: FakeJob) -> httpx.Response:
        assert isinstance(job, StagedJob)
        if job.status in FINAL:
            return refusal(409, "invalid-job-operation", f"the job is {job.status}")
        job.stages = [Stage(anyio.current_time() + self.cancelling, "cancelled")]
        self._change(job, "cancel_pending")
        return httpx.Response(self.cancel_status)

    async def _open_changes(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.times.append(anyio.current_time())
        await anyio.sleep(self.latency)
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.valid_tokens:
            return refusal(401, "unauthenticated", "invalid token")
        since = request.headers.get("last-event-id", request.url.params.get("since"))
        self.streams.append(since)
        script = self.script(len(self.streams) - 1)
        if script.status != 200:
            return refusal(script.status, "trouble", "there is no stream")
        epoch, _, number = (since or self.cursor).rpartition(".")
        if epoch != self.epoch or int(number) < self.oldest:
            return refusal(410, "cursor-expired", "list again")
        stream = _Stream(self, script, int(number), is_new=since is None)
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=stream)


class _Stream(httpx.AsyncByteStream):
    def __init__(self, platform: FeedingPlatform, script: Script, last: int, *, is_new: bool) -> None:
        self._platform = platform
        self._script = script
        self._last = last
        self._is_new = is_new
        self._began = anyio.current_time()
        self._source = self._chunks()
        platform.open_streams += 1
        self._is_open = True

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._source)

    async def aclose(self) -> None:
        self._platform.open_streams -= self._is_open
        self._is_open = False
        await self._source.aclose()

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        platform = self._platform
        if self._script.buffered:
            await anyio.sleep_forever()
        yield b"retry: 1000\n\n"
        if self._is_new:
            yield f"event: hello\nid: {platform.cursor}\ndata: {{}}\n\n".encode()
        while True:
            wake = platform._wake
            platform.advance()
            changed = sorted(
                (j for j in [*platform.staged, *platform.deleted] if j.change > self._last), key=lambda j: j.change
            )
            if changed:
                # The state of half a round trip ago.
                events = b"".join(self._event(job) for job in changed)
                self._last = changed[-1].change
                await anyio.sleep(platform.latency / 2)
                yield events
                continue
            if anyio.current_time() >= self._began + self._script.after:
                match self._script.trouble:
                    case "cut":
                        return
                    case "reset":
                        raise httpx.ReadError("reset")
                    case "silence":
                        await anyio.sleep_forever()
                    case "garbage":
                        yield b"data: <html>\n\nevent: job\ndata: {\n\n"
                        return
                    case "bye":
                        yield b"event: bye\ndata: {}\n\n"
                        return
            due = min((stage.at for job in platform.staged for stage in job.stages), default=float("inf"))
            end = self._began + self._script.after
            with anyio.CancelScope(deadline=min(due, end, anyio.current_time() + platform.heartbeat)) as scope:
                await wake.wait()
            if scope.cancelled_caught and anyio.current_time() < min(due, end):
                yield b":\n\n"

    def _event(self, job: StagedJob) -> bytes:
        if job in self._platform.deleted:
            return f'event: deleted\nid: {self._platform.epoch}.{job.change}\ndata: {{"id": "{job.id}"}}\n\n'.encode()
        self._platform.sent.append((job.id, job.status))
        return f"event: job\nid: {self._platform.epoch}.{job.change}\ndata: {json.dumps(job.json())}\n\n".encode()
