"""A blocking client of the soak test, in a thread of its own. Shorter than ``playing``, with the same outcome."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import sfjobs
from sfjobs import sync
from sfjobs.errors import RequestFailedError, ResultCorruptError

from .ledger import Ledger, Line
from .plan import Round
from .playing import PAUSE, NotOver
from .programs import TARGET, Program

T = TypeVar("T")


class BlockingPlayer:
    def __init__(self, connection: sync.Connection, name: str, ledger: Ledger, recovering: threading.Lock) -> None:
        self._connection = connection
        self._name = name
        self._ledger = ledger
        self._recovering = recovering
        self._draw = random.Random(name)

    def play(self, round_: Round) -> None:
        self._draw = random.Random(round_.seed)
        if round_.way == "group":
            self._group(round_.programs)
            return
        jobs = self._submit_all(round_.programs) if round_.way != "singly" else [*map(self._submit, round_.programs)]
        if round_.way == "cancelling":
            self._retry("cancel_all", lambda: sync.cancel_all(jobs, wait=True))
        elif round_.way == "watching":
            self._watch(jobs)
        else:
            self._retry("wait_all", lambda: sync.wait_all(jobs, fetch_results=self._draw.random() < 0.5))
        for program, job in zip(round_.programs, jobs, strict=True):
            self._close(program, job, cancelled=round_.way == "cancelling")

    def _group(self, programs: Sequence[Program]) -> None:
        group = sync.JobGroup.open(f"{self._name}-{programs[0].number}", self._connection)
        group.add_all(TARGET, [self._submission(program) for program in programs])
        while not self._retry("group.wait", group.wait).is_over:
            self._ledger.note("group.wait", NotOver())
        by_id = {job.id: job for job in group.jobs}
        for program, member in zip(programs, group.members, strict=True):
            assert member.name == program.name, "a group keeps its order"
            assert member.job_id is not None, f"{member} was not submitted"
            self._close(program, by_id[member.job_id])
        group.remove()

    def _watch(self, jobs: Sequence[sync.Job]) -> None:
        while not all(job.status.is_final for job in jobs):
            try:
                with self._connection.events(jobs) as events:
                    for _ in events:
                        pass
            except RequestFailedError as error:
                self._ledger.note("events", error)
                time.sleep(PAUSE)

    def _submit_all(self, programs: Sequence[Program]) -> list[sync.Job]:
        jobs: list[sync.Job] = []
        with self._connection.create_jobs(TARGET, map(self._submission, programs)) as stream:
            while (item := self._retry("create_jobs, as a whole", lambda: next(stream, None))) is not None:
                if isinstance(item, sfjobs.Refusal):
                    program = programs[item.index]
                    self._ledger.note("create_jobs", item.error)
                    jobs.append(self._settled(program) or self._submit(program))
                else:
                    jobs.append(item)
        return jobs

    def _submit(self, program: Program) -> sync.Job:
        while True:
            try:
                return self._connection.create_job(TARGET, program.text, shots=program.shots, name=program.name)
            except RequestFailedError as error:
                self._ledger.note("create_job", error)
                if (job := self._settled(program)) is not None:
                    return job

    def _settled(self, program: Program) -> sync.Job | None:
        with self._recovering:
            recovery = self._retry("recover", self._connection.recover)
            assert not recovery.unknown, f"the platform honours keys, and {recovery.unknown} is unknown"
        return self._retry("list", lambda: self._found(program))

    def _found(self, program: Program) -> sync.Job | None:
        return next((job for job in self._connection.list_jobs(limit=1000) if job.name == program.name), None)

    def _close(self, program: Program, job: sync.Job, *, cancelled: bool = False) -> None:
        right = None
        if job.status == sfjobs.JobStatus.COMPLETED:
            mmap = self._draw.random() < 0.3
            result = self._retry("fetch_result", lambda: job.fetch_result(mmap=mmap))
            right = program.has_measured(result.raw)
        self._ledger.write(Line(program.number, job.id, job.status.value, cancelled, right))

    def _retry(self, doing: str, call: Callable[[], T]) -> T:
        while True:
            try:
                return call()
            except (RequestFailedError, ResultCorruptError) as error:
                self._ledger.note(doing, error)
                time.sleep(PAUSE)

    def _submission(self, program: Program) -> sfjobs.Submission:
        return sfjobs.Submission(program.text, program.shots, program.name)
