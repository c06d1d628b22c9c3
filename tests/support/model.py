"""
Programs of client and platform as data, the interpreter that runs one in virtual time, and the model of the permitted outcomes.
A program is a platform and a list of steps. Steps name jobs by a number modulo the number of jobs, so any part of a program is
a program.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, TypeAlias

import anyio
import anyio.lowlevel
import httpx
from anyio.abc import TaskGroup

import sfjobs
from sfjobs._client.connection import internals
from sfjobs._http.transport import MAX_CONNECTIONS
from sfjobs._util.aio import plain_task_group
from tests.support.fake_platform import FINAL, FakeJob, FakePlatform, refusal
from tests.support.feeding_platform import FeedingPlatform, StagedJob

Kind: TypeAlias = Literal["503", "500", "429", "html", "refused", "reset", "lost", "stale"]
Step: TypeAlias = tuple[Any, ...]
KINDS: Sequence[Kind] = ("503", "500", "429", "html", "refused", "reset", "lost", "stale")
PROGRAM_TIMEOUT_SECONDS = 100_000.0
"""Seconds of virtual time in which every program ends."""

STEP_TIMEOUT_SECONDS = 300.0
"""Seconds of virtual time for a step that need not end by itself."""


@dataclass(frozen=True)
class Program:
    """A platform, which offers ``keys`` and ``batches`` or not, and steps. ``latency`` is in seconds."""

    feed: bool
    keys: bool
    batches: bool
    latency: float
    steps: tuple[Step, ...]


def program_of(seed: int) -> Program:
    """Return the program of this seed."""
    draw = random.Random(seed)
    steps = [("submit",), *(_step(draw) for _ in range(draw.randint(4, 20)))]
    latency = draw.choice([0.0, 0.02, 0.7])
    return Program(draw.random() < 0.4, draw.random() < 0.5, draw.random() < 0.4, latency, tuple(steps))


def _step(draw: random.Random) -> Step:
    job = draw.randrange(100)
    makers: list[tuple[int, Callable[[], Step]]] = [
        (3, lambda: ("submit",)),
        (1, lambda: ("batch", draw.randint(1, 6))),
        (6, lambda: ("wait", job, draw.choice([None, None, draw.uniform(0, 20)]))),
        (2, lambda: ("wait_all", job, draw.randint(1, 4), draw.choice([None, draw.uniform(0, 40)]))),
        (3, lambda: ("scope", job, draw.uniform(0, 10))),
        (3, lambda: ("cancel", job, draw.random() < 0.4)),
        (1, lambda: ("cancel_all", job, draw.randint(1, 4), draw.random() < 0.4)),
        (4, lambda: ("end", job, draw.choice(["complete", "complete", "failed"]))),
        (1, lambda: ("forget", job)),
        (4, lambda: ("trouble", draw.choice(KINDS), draw.randint(1, 12))),
        (2, lambda: ("result", job)),
        (1, lambda: ("list",)),
        (5, lambda: ("advance", draw.choice([0.0, draw.uniform(0, 3), draw.uniform(0, 200)]))),
        (1, lambda: ("close",)),
    ]
    weights, choices = zip(*makers, strict=True)
    return draw.choices(choices, weights)[0]()


async def shrunk(program: Program, fails: Callable[[Program], Awaitable[bool]]) -> Program:
    """Return a program that fails with fewer steps: each step is left out without which it still fails."""
    place = 0
    while place < len(program.steps):
        shorter = replace(program, steps=program.steps[:place] + program.steps[place + 1 :])
        if await fails(shorter):
            program = shorter
        else:
            place += 1
    return program


@dataclass
class Expected:
    """How a job may end, and whether the platform has forgotten it."""

    ends: set[str] = field(default_factory=set)
    forgotten: bool = False


class Model:
    """The permitted outcomes. It knows the steps, and of requests only whether one may have failed."""

    def __init__(self) -> None:
        self.jobs: dict[str, Expected] = {}
        self.names: dict[str, range] = {}  # permitted numbers of jobs of each submission
        self.finals: dict[int, str] = {}  # final statuses of handles
        self.is_closed = False

    def submitted(self, name: str, job_id: str | None) -> None:
        self.names[name] = range(2) if job_id is None else range(1, 2)
        if job_id is not None:
            self.jobs.setdefault(job_id, Expected())

    def end(self, job_id: str, status: str) -> None:
        expected = self.jobs[job_id]
        if not expected.ends - {"cancelled"}:
            expected.ends.add(status)

    def may_cancel(self, job_id: str) -> None:
        if not self.jobs[job_id].ends - {"cancelled"}:
            self.jobs[job_id].ends.add("cancelled")

    def check_end(self, job_id: str, status: str) -> None:
        assert status in self.jobs[job_id].ends, f"{job_id} ended as {status}, not as {self.jobs[job_id].ends}"

    def check_error(self, error: Exception, job_ids: Sequence[str], *, had_trouble: str | None) -> None:
        """Check that a step on these jobs may raise ``error``."""
        if isinstance(error, sfjobs.ConnectionClosedError):
            assert self.is_closed, error
        elif isinstance(error, sfjobs.NotFoundError):
            assert any(self.jobs[job_id].forgotten for job_id in job_ids), error
        elif isinstance(error, sfjobs.RequestFailedError):
            assert had_trouble, f"{error!r} without a failed request"
            assert not isinstance(error, sfjobs.AuthenticationError), error
            assert had_trouble == "stale" or not isinstance(error, sfjobs.ConflictError), error
        else:
            raise error

    def check_handle(self, job: sfjobs.Job) -> None:
        """Check that a final status has not changed."""
        if job.status.is_final:
            assert self.finals.setdefault(id(job), job.status.value) == job.status.value
        else:
            assert id(job) not in self.finals, f"{job!r} was {self.finals[id(job)]}"


class ProgramRun:
    """Runs one program."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._model = Model()
        self._platform = _platform(program, self._counted)
        self._connection = self._platform.connection()
        self._jobs: list[sfjobs.Job] = []
        self._made: Counter[str] = Counter()
        self._names = (f"n{number}" for number in range(10_000))
        self._kind: Kind = "503"
        self._left = self._failed = self._waiting = 0
        self._platform.trouble = self._inject_fault

    async def run(self) -> None:
        """Run the program. Raises AssertionError, or the error that the model does not permit."""
        try:
            with anyio.fail_after(PROGRAM_TIMEOUT_SECONDS):
                async with plain_task_group() as group:
                    for step in self._program.steps:
                        await getattr(self, f"_{step[0]}")(group, *step[1:])
                        self._check_handles()
                    await self._conclude()
            await self._check_end()
        finally:
            with anyio.CancelScope(shield=True):
                await self._connection.aclose()

    async def _check_end(self) -> None:
        self._check_handles()
        for name, count in self._model.names.items():
            assert self._made[name] in count, f"{self._made[name]} jobs of one submission, not {count}"
        await self._check_quiet()
        assert not self._waiting
        assert self._platform.most_in_flight <= sum(MAX_CONNECTIONS.values())

    async def _conclude(self) -> None:
        """End the faults and every job: all waits have to end now."""
        self._left = 0
        for job in self._platform.jobs.values():
            if job.now() not in FINAL and job.status != "cancel_pending":
                self._end_job(job.id, "complete")

    # -- what the client does --

    async def _submit(self, group: TaskGroup) -> None:
        name = next(self._names)
        job = await self._attempt([], self._connection.create_job("t", _text(name), name=name))
        self._model.submitted(name, None if job is None else job.id)
        self._jobs += [] if job is None else [job]

    async def _batch(self, group: TaskGroup, count: int) -> None:
        names = [next(self._names) for _ in range(count)]
        for name in names:
            self._model.submitted(name, None)
        submissions = [sfjobs.Submission(_text(name), name=name) for name in names]
        stream = self._connection.create_jobs("t", submissions, window=count)
        with anyio.move_on_after(STEP_TIMEOUT_SECONDS):  # a narrowed window waits for jobs that nothing ends
            for _ in range(count + 3):  # an error does not end the stream
                if await self._attempt([], self._drain(stream)):
                    break
        await stream.aclose()
        for job in stream.submitted:
            self._add(job)

    async def _drain(self, stream: sfjobs.JobStream) -> bool:
        failed = self._failed
        async for item in stream:
            if isinstance(item, sfjobs.Job):
                self._add(item)
            else:
                assert isinstance(item.error, sfjobs.RequestFailedError)
                assert self._had_trouble(failed), item.error
        return True

    def _add(self, job: sfjobs.Job) -> None:
        made = self._platform.jobs.get(job.id)
        assert made is not None, "a job that the platform does not have"
        self._model.submitted(str(made.name), job.id)
        self._jobs.append(job)

    async def _wait(self, group: TaskGroup, number: int, timeout: float | None) -> None:
        for job in self._chosen(number, 1):
            group.start_soon(self._follow, [job], timeout, partial(job.wait, timeout=timeout))

    async def _wait_all(self, group: TaskGroup, number: int, count: int, timeout: float | None) -> None:
        jobs = self._chosen(number, count)
        group.start_soon(self._follow, jobs, timeout, lambda: sfjobs.wait_all(jobs, timeout))

    async def _scope(self, group: TaskGroup, number: int, seconds: float) -> None:
        async def scoped(job: sfjobs.Job) -> None:
            with anyio.move_on_after(seconds):
                await self._follow([job], None, job.wait)

        for job in self._chosen(number, 1):
            group.start_soon(scoped, job)

    async def _follow(
        self, jobs: Sequence[sfjobs.Job], timeout: float | None, wait: Callable[[], Awaitable[object]]
    ) -> None:
        began = anyio.current_time()
        self._waiting += 1
        try:
            await wait()
        except sfjobs.WaitTimeoutError:
            assert timeout is not None
            assert abs(anyio.current_time() - began - timeout) < 1e-3, "it did not end at its timeout"
        except Exception as error:  # noqa: BLE001 - the model checks it
            # A wait retries transient errors.
            self._model.check_error(error, [job.id for job in jobs], had_trouble=None)
        else:
            for job in jobs:
                self._model.check_end(job.id, job.status.value)
                assert job.has_result == (job.status == "complete")
        finally:
            self._waiting -= 1

    async def _cancel(self, group: TaskGroup, number: int, wait: bool) -> None:
        for job in self._chosen(number, 1):
            await self._cancelled([job], partial(job.cancel, wait=wait, timeout=30), wait=wait)

    async def _cancel_all(self, group: TaskGroup, number: int, count: int, wait: bool) -> None:
        jobs = self._chosen(number, count)
        await self._cancelled(jobs, lambda: sfjobs.cancel_all(jobs, wait=wait, timeout=30), wait=wait)

    async def _cancelled(
        self, jobs: Sequence[sfjobs.Job], cancel: Callable[[], Awaitable[object]], *, wait: bool
    ) -> None:
        failed = self._failed
        known = [self._platform.jobs[job.id] for job in jobs if job.id in self._platform.jobs]
        before = {job.id for job in known if job.now() in (*FINAL, "cancel_pending")}
        before |= {job.id for job in jobs if job.status.is_final}
        for job in jobs:
            self._model.may_cancel(job.id)
        try:
            await cancel()
        except sfjobs.InvalidJobOperationError as error:
            self._model.check_end(error.job_id, str(error.status))
            if error.status == "cancelled" and error.job_id not in before:
                raise AssertionError("it was cancelled by this very step") from error
        except sfjobs.WaitTimeoutError:
            assert wait
        except Exception as error:  # noqa: BLE001 - the model checks it
            self._model.check_error(
                error, [job.id for job in jobs], had_trouble=None if wait else self._had_trouble(failed)
            )
        else:
            for job in jobs:
                if wait or job.status.is_final:
                    self._model.check_end(job.id, job.status.value)
                else:
                    assert job.status == "cancel_pending"

    async def _result(self, group: TaskGroup, number: int) -> None:
        for job in self._chosen(number, 1):
            try:
                await self._attempt([job.id], job.fetch_result())
            except sfjobs.ResultUnavailableError:
                assert job.status != "complete"

    async def _list(self, group: TaskGroup) -> None:
        async def listed() -> list[str]:
            return [job.id async for job in self._connection.list_jobs()]

        ids = await self._attempt([], listed())
        assert ids is None or len(set(ids)) == len(ids) == len(self._platform.jobs)

    async def _close(self, group: TaskGroup) -> None:
        self._model.is_closed = True
        await self._connection.aclose()

    async def _attempt(self, job_ids: Sequence[str], call: Awaitable[Any]) -> Any:
        failed = self._failed
        try:
            return await call
        except sfjobs.ResultUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - the model checks it
            self._model.check_error(error, job_ids, had_trouble=self._had_trouble(failed))
            return None

    # -- what the platform does --

    async def _end(self, group: TaskGroup, number: int, status: str) -> None:
        for job in self._chosen(number, 1):
            if job.id in self._platform.jobs:
                self._end_job(job.id, status)

    def _end_job(self, job_id: str, status: str) -> None:
        job = self._platform.jobs[job_id]
        if job.now() in FINAL:
            return
        if job_id in self._model.jobs:
            self._model.end(job_id, status)
        if isinstance(job, StagedJob):
            job.stages.clear()
            assert isinstance(self._platform, FeedingPlatform)
            self._platform._change(job, status)
        else:
            job.status, job.outcome, job.ends_at = status, status, anyio.current_time()

    async def _forget(self, group: TaskGroup, number: int) -> None:
        for job in self._chosen(number, 1):
            self._model.jobs[job.id].forgotten = True
            self._platform.jobs.pop(job.id, None)

    async def _trouble(self, group: TaskGroup, kind: Kind, times: int) -> None:
        self._kind, self._left = kind, times

    async def _advance(self, group: TaskGroup, seconds: float) -> None:
        await anyio.sleep(seconds)
        await self._check_quiet()

    async def _inject_fault(self, request: httpx.Request) -> httpx.Response | None:
        if self._left <= 0 or request.url.path.endswith("/token"):
            return None
        self._left -= 1
        self._failed += 1
        if self._kind == "refused":
            raise httpx.ConnectError("refused")
        if self._kind == "lost" and request.url.path != "/jobs/changes":
            self._platform._answer(request)
        if self._kind in ("reset", "lost"):
            raise httpx.ReadError("reset")
        if self._kind == "stale":
            return None if self._program.feed else self._stale(request)
        if self._kind == "html":
            return httpx.Response(200, text="<html>", headers={"content-type": "text/html"})
        return refusal(int(self._kind), "trouble", "")

    def _stale(self, request: httpx.Request) -> httpx.Response:
        """Return the response of a replica that lags behind."""
        response = self._platform._answer(request)
        if request.method == "GET" and response.is_success and request.url.path.startswith("/jobs"):
            for status in (*FINAL, "cancel_pending"):
                response = httpx.Response(200, content=response.content.replace(b'"%s"' % status.encode(), b'"open"'))
        return response

    def _counted(self, job: FakeJob) -> None:
        self._made[str(job.name)] += 1

    def _had_trouble(self, failed: int) -> str | None:
        """Return the kind of fault, if one more request than ``failed`` met one."""
        return self._kind if self._failed > failed else None

    def _chosen(self, number: int, count: int) -> list[sfjobs.Job]:
        if not self._jobs:
            return []
        return [self._jobs[(number + step) % len(self._jobs)] for step in range(count)]

    # -- what always holds --

    def _check_handles(self) -> None:
        for job in self._jobs:
            self._model.check_handle(job)

    async def _check_quiet(self) -> None:
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        if self._waiting:
            return
        assert internals(self._connection).poller.is_idle, "no call waits, and a job is tracked or a waiter leads"
        streams = self._platform.open_streams if isinstance(self._platform, FeedingPlatform) else 0
        assert self._platform.in_flight == 0
        assert streams <= 1


def _platform(program: Program, counted: Callable[[FakeJob], None]) -> FakePlatform:
    kind = FeedingPlatform if program.feed else FakePlatform
    platform = kind(latency=program.latency)
    platform.honours_keys, platform.offers_batches = program.keys, program.batches
    add = platform.add

    def counting(**fields: Any) -> FakeJob:
        job = add(**fields)
        counted(job)
        return job

    platform.add = counting  # type: ignore[method-assign]
    return platform


def _text(name: str) -> str:
    return f"name {name}\nversion 1.0\n\nVac | 0\nMeasureFock() | 0\n"
