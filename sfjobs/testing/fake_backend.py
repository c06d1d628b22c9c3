"""The jobs of a ``FakePlatform`` and their changes, for its endpoints and its change feed. No I/O."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from .answers import Answer, Received, refusal
from .backend import Backend
from .clock import VirtualClock
from .endpoints import Endpoints
from .fake_feed import FakeFeed, Waker, cursor_of
from .fake_job import FakeJob, ResultSource, result_file
from .faults import Faults
from .scripted_job import ScriptedJob


class FakeOptions(Protocol):
    """What a test may change at any time."""

    result: ResultSource | None
    run_time: float | None
    cancel_time: float


class FakeBackend(Backend):
    """All jobs of one platform, with a lock: any thread may change them. ``jobs`` is in the order of submission."""

    def __init__(
        self,
        options: FakeOptions,
        faults: Faults | None,
        latency: float,
        clock: VirtualClock | None,
        *,
        targets: Sequence[str],
        token_lifetime: float,
        feed: bool,
        keys: bool,
        batches: bool,
    ) -> None:
        super().__init__(faults, latency, clock)
        self.epoch = uuid.uuid4().hex[:8]
        self._options = options
        self._jobs: dict[str, ScriptedJob] = {}
        self._faces: dict[str, FakeJob] = {}
        self._newest = 0
        self._wakers: set[Waker] = set()
        self._lock = threading.RLock()
        self._endpoints = Endpoints(self, tuple(targets), token_lifetime, feed, keys, batches)
        if clock is not None:
            clock.on_advance(self._on_advance)

    def jobs(self) -> list[FakeJob]:
        """Return all jobs, oldest first."""
        with self._lock:
            self._advance()
            return list(self._faces.values())

    def job(self, job_id: str) -> FakeJob:
        """Return the job with this id. Raises ``KeyError``."""
        with self._lock:
            return self._faces[job_id]

    def add(
        self,
        *,
        name: str | None,
        target: str,
        program: str,
        language: str = "blackbird:1.0",
        run_time: float | None,
    ) -> FakeJob:
        """Add a job, which the feed announces."""
        with self._lock:
            job = ScriptedJob(
                self, str(uuid.uuid4()), name=name, target=target, program=program, language=language, run_time=run_time
            )
            self._jobs[job.id], self._faces[job.id] = job, FakeJob(job)
            self._number(job)
            return self._faces[job.id]

    @property
    def cancel_time(self) -> float:
        """The seconds for which a job that a client cancels is ``cancel_pending``."""
        return self._options.cancel_time

    def expire_tokens(self) -> None:
        """Let all access tokens expire now."""
        with self._lock:
            self._endpoints.tokens.clear()

    async def answer(self, request: Received) -> Answer:
        """Answer a request without any fault."""
        with self._lock:
            self._advance()
            answer = self._endpoints.answer(request)
        return self._stream(request) if answer is None else answer

    def _stream(self, request: Received) -> Answer:
        since = request.headers.get("last-event-id")
        if since is None and request.query.startswith("since="):
            since = request.query.removeprefix("since=")
        number = cursor_of(since, self.epoch, self._newest)
        if number is None:
            return refusal(410, "cursor-expired", "list the jobs again, and start from there")
        stream = FakeFeed(self, number, is_new=since is None)
        return Answer(headers={"content-type": "text/event-stream", "cache-control": "no-store"}, stream=stream)

    def secrets(self) -> list[str]:
        """Return what the log masks."""
        with self._lock:
            return [self.api_key, *self._endpoints.tokens]

    def default_result(self) -> ResultSource | None:
        """Return the result of jobs that have none of their own."""
        return self._options.result

    def found(self, job_id: str) -> ScriptedJob | None:
        """Return the job with this id, or None."""
        return self._jobs.get(job_id)

    def newest_first(self) -> list[ScriptedJob]:
        """Return the jobs as lists have them."""
        return list(reversed(self._jobs.values()))

    def submit(self, fields: Mapping[str, Any]) -> ScriptedJob:
        """Add the job of a submission."""
        job = self.add(
            name=fields.get("name"),
            target=fields.get("target") or "simulon_gaussian",
            program=fields["circuit"],
            language=fields.get("language") or "blackbird:1.0",
            run_time=self._options.run_time,
        )
        return self._jobs[job.id]

    def result_file(self, job: ScriptedJob, kind: str) -> bytes:
        """Return the result of a job as a file of this kind."""
        return result_file(self._faces[job.id], kind)

    def change(self, job: ScriptedJob, apply: Callable[[], None]) -> None:
        """Let the time that has passed take its effect, then apply a change of a job, which the feed announces."""
        with self._lock:
            self._advance()
            before = job.record()
            apply()
            if job.record() != before:
                self._number(job)
            self._advance()
            self._wake()  # also when only the time of its end has changed

    @property
    def cursor(self) -> str:
        """The feed's place after all changes so far."""
        return f"{self.epoch}.{self._newest}"

    def changes_after(self, number: int) -> list[tuple[int, dict[str, object]]]:
        """Return the jobs that have changed since, with the numbers of their changes, oldest change first."""
        with self._lock:
            self._advance()
            changed = sorted((job for job in self._jobs.values() if job.number > number), key=lambda job: job.number)
            return [(job.number, job.record()) for job in changed]

    def seconds_to_next_end(self) -> float | None:
        """Return the seconds until a job ends by itself, or None."""
        with self._lock:
            ends = [job.ends_at for job in self._jobs.values() if job.ends_at is not None]
            return min(ends) - self.now() if ends else None

    def watch(self, waker: Waker) -> None:
        """Wake this one at each change."""
        with self._lock:
            self._wakers.add(waker)

    def unwatch(self, waker: Waker) -> None:
        """Wake this one no more."""
        with self._lock:
            self._wakers.discard(waker)

    def _advance(self) -> None:
        """End the jobs whose time has come, in the order of their ends."""
        now = self.now()
        due = [job for job in self._jobs.values() if job.ends_at is not None and job.ends_at <= now]
        for job in sorted(due, key=lambda job: job.ends_at or 0.0):
            if job.end_if_due(now):
                self._number(job)

    def _number(self, job: ScriptedJob) -> None:
        self._newest += 1
        job.number = self._newest
        self._wake()

    def _wake(self) -> None:
        for waker in self._wakers:
            waker.wake()

    def _on_advance(self) -> None:
        with self._lock:
            self._advance()
            self._wake()
