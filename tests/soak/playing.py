"""
An async client of the soak test: it runs its rounds on one connection, handles each error that a caller may see as a caller
should, and records the end of every program.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import numpy as np
import numpy.typing as npt

import sfjobs
from sfjobs._submission.stream import JobStream
from sfjobs.errors import InvalidJobOperationError, RequestFailedError, ResultCorruptError

from .ledger import Ledger, Line
from .plan import Round
from .programs import TARGET, Program

T = TypeVar("T")
PAUSE = 0.2
"""Seconds before the next attempt."""


class NotOver(Exception):
    """A wait for a group has ended before the group."""


class Player:
    def __init__(
        self, connection: sfjobs.Connection, name: str, ledger: Ledger, recovering: anyio.Lock, folder: Path
    ) -> None:
        self._connection = connection
        self._name = name
        self._ledger = ledger
        self._recovering = recovering
        self._folder = folder
        self._draw = random.Random(name)

    async def play(self, round_: Round) -> None:
        self._draw = random.Random(round_.seed)
        ways: dict[str, Callable[[Sequence[Program]], Awaitable[None]]] = {
            "singly": self._singly,
            "many": self._many,
            "group": self._group,
            "cancelling": self._cancelling,
            "watching": self._watching,
        }
        await ways[round_.way](round_.programs)

    async def _singly(self, programs: Sequence[Program]) -> None:
        for program in programs:
            job = await self._submit(program)
            await self._retry("wait", partial(job.wait, fetch_result=False))
            await self._close(program, job)

    async def _many(self, programs: Sequence[Program]) -> None:
        jobs = await self._submit_all(programs)
        whole = self._draw.random() < 0.5
        if whole:
            await self._retry("wait_all", lambda: sfjobs.wait_all(jobs, fetch_results=self._draw.random() < 0.5))
        else:
            await self._complete(jobs)
        if self._draw.random() < 0.3:
            await self._retry("list", lambda: self._list(jobs))
        for program, job in zip(programs, jobs, strict=True):
            await self._close(program, job)

    async def _complete(self, jobs: Sequence[sfjobs.Job]) -> None:
        while left := [job for job in jobs if not job.status.is_final]:
            try:
                async with sfjobs.as_completed(left, fetch_results=self._draw.random() < 0.5) as completions:
                    async for _ in completions:
                        if self._draw.random() < 0.02:
                            break  # abandoned, and begun again
            except (RequestFailedError, ResultCorruptError) as error:
                self._ledger.note("as_completed", error)
                await anyio.sleep(PAUSE)

    async def _list(self, jobs: Sequence[sfjobs.Job]) -> None:
        listed = [job async for job in self._connection.list_jobs(ids=[job.id for job in jobs])]
        assert {job.id: job.status for job in listed} == {job.id: job.status for job in jobs}, (
            "the list differs from the handles"
        )

    async def _group(self, programs: Sequence[Program]) -> None:
        name = f"{self._name}-{programs[0].number}"
        group = await sfjobs.JobGroup.open(name, self._connection)
        await group.add_all(TARGET, [self._submission(program) for program in programs])
        if self._draw.random() < 0.3:
            await self._retry("group.submit", lambda: group.submit(window=4))
            group = await sfjobs.JobGroup.open(name, self._connection)  # as another process would resume it
        while not (await self._retry("group.wait", group.wait)).is_over:
            self._ledger.note("group.wait", NotOver())
        if self._draw.random() < 0.5:
            await self._retry("group.results", group.results)
        by_id = {job.id: job for job in group.jobs}
        for program, member in zip(programs, group.members, strict=True):
            assert member.name == program.name, "a group keeps its order"
            assert member.job_id is not None, f"{member} was not submitted"
            await self._close(program, by_id[member.job_id])
        await group.remove()

    async def _cancelling(self, programs: Sequence[Program]) -> None:
        jobs = await self._submit_all(programs)
        if self._draw.random() < 0.5:
            await self._retry("cancel_all", lambda: sfjobs.cancel_all(jobs, wait=True))
        else:
            for job in jobs:
                await self._retry("cancel", partial(_cancel, job))
        for program, job in zip(programs, jobs, strict=True):
            await self._close(program, job, cancelled=True)

    async def _watching(self, programs: Sequence[Program]) -> None:
        jobs = await self._submit_all(programs)
        while not all(job.status.is_final for job in jobs):
            try:
                async with self._connection.events(jobs) as events:
                    async for _ in events:
                        pass
            except RequestFailedError as error:
                self._ledger.note("events", error)
                await anyio.sleep(PAUSE)
        for program, job in zip(programs, jobs, strict=True):
            await self._close(program, job)

    async def _submit_all(self, programs: Sequence[Program]) -> list[sfjobs.Job]:
        """Submit through one stream, and singly what it refuses."""
        jobs: list[sfjobs.Job] = []
        window = self._draw.choice([2, 10, 100])
        stream = self._connection.create_jobs(TARGET, map(self._submission, programs), window=window)
        async with stream:
            while (item := await self._next(stream)) is not None:
                if isinstance(item, sfjobs.Refusal):
                    program = programs[item.index]
                    self._ledger.note("create_jobs", item.error)
                    jobs.append(await self._settled(program) or await self._submit(program))
                else:
                    jobs.append(item)
        return jobs

    async def _next(self, stream: JobStream) -> sfjobs.Job | sfjobs.Refusal | None:
        while True:
            try:
                return await anext(stream, None)
            except RequestFailedError as error:
                self._ledger.note("create_jobs, as a whole", error)
                await anyio.sleep(PAUSE)

    async def _submit(self, program: Program) -> sfjobs.Job:
        while True:
            try:
                return await self._connection.create_job(TARGET, program.text, shots=program.shots, name=program.name)
            except RequestFailedError as error:
                self._ledger.note("create_job", error)
                if (job := await self._settled(program)) is not None:
                    return job

    async def _settled(self, program: Program) -> sfjobs.Job | None:
        """Return the job of a submission that ended in an error, None when the platform has none."""
        async with self._recovering:
            recovery = await self._retry("recover", self._connection.recover)
            assert not recovery.unknown, f"the platform honours keys, and {recovery.unknown} is unknown"
        return await self._retry("list", lambda: self._found(program))

    async def _found(self, program: Program) -> sfjobs.Job | None:
        found = [job async for job in self._connection.list_jobs(limit=500) if job.name == program.name]
        assert len(found) <= 1, f"several jobs of program {program.number}: {found}"
        return found[0] if found else None

    async def _close(self, program: Program, job: sfjobs.Job, *, cancelled: bool = False) -> None:
        """Check a job that has ended, and record it."""
        assert job.name in (program.name, None), f"{job} is not {program}"
        right = None
        if job.status == sfjobs.JobStatus.COMPLETED:
            right = program.has_measured(await self._retry("fetch_result", lambda: self._samples(program, job)))
        self._ledger.write(Line(program.number, job.id, job.status.value, cancelled, right))

    async def _samples(self, program: Program, job: sfjobs.Job) -> npt.NDArray[Any]:
        match self._draw.choice(["memory", "memory", "mmap", "array", "file", "stream"]):
            case "mmap":
                result = await job.fetch_result(mmap=True)
            case "array":
                result = await job.fetch_result(into=np.empty((program.shots, 4), dtype=np.uint8))
            case "file":
                path = self._folder / f"{job.id}.npz"
                result = await job.fetch_result(into=path)
                samples = np.array(result.raw)
                path.unlink()
                return samples
            case "stream":
                async with self._connection.open_result(job.id) as stream:
                    return await stream.array()
            case _:
                result = await job.fetch_result()
        return np.array(result.raw)

    async def _retry(self, doing: str, call: Callable[[], Awaitable[T]]) -> T:
        """Call until it succeeds, as a caller with a bad network does."""
        while True:
            try:
                return await call()
            except (RequestFailedError, ResultCorruptError) as error:
                self._ledger.note(doing, error)
                await anyio.sleep(PAUSE)

    def _submission(self, program: Program) -> sfjobs.Submission:
        return sfjobs.Submission(program.text, program.shots, program.name)


async def _cancel(job: sfjobs.Job) -> None:
    try:
        await job.cancel(wait=True)
    except InvalidJobOperationError:
        await job.wait(fetch_result=False)  # it ended before its cancellation
