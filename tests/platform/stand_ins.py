"""A platform without sockets and processes: its executor is scripted by the test, and its store shows when a job has ended."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
import httpx
import numpy as np
from starlette.types import ASGIApp

from sfjobs.models import JSONValue
from sfjobs.platform.api.app import create_app
from sfjobs.platform.api.tokens import AccessTokens
from sfjobs.platform.blackbird import parse
from sfjobs.platform.devices import build_devices
from sfjobs.platform.execution.executor import ExecutionError, Outcome, Run, Work
from sfjobs.platform.jobs.check_pool import ThreadChecks
from sfjobs.platform.jobs.preparation import Preparation
from sfjobs.platform.jobs.program_check import Parse, ProgramReader
from sfjobs.platform.jobs.scheduler import Scheduler
from sfjobs.platform.limits import DEFAULTS, Limits
from sfjobs.platform.records import JobRecord, NewJob, ResultFile
from sfjobs.platform.results.folder import ResultFolder
from sfjobs.platform.store.api_keys import hash_api_key
from sfjobs.platform.store.sqlite.jobs import SQLiteStore

PROGRAM = """name demo
version 1.0
target simulon_gaussian (shots=4)

Sgate(0.5) | 0
MeasureFock() | [0, 1]
"""
_PREPARATION = Preparation()
ARRAY = np.arange(8, dtype=np.uint8).reshape(4, 2)


def new_job(account: str, number: int = 0, *, target: str = "simulon_gaussian") -> NewJob:
    return NewJob(
        id=f"00000000-0000-4000-8000-{number:012d}",
        account=account,
        name=f"job {number}",
        target=target,
        circuit=PROGRAM,
        shots=4,
        seed=7,
    )


async def add_job(store: SQLiteStore, job: NewJob) -> JobRecord:
    (record,) = await store.add_jobs([job])
    return record


class WatchedStore(SQLiteStore):
    """A store whose ``ended(id)`` returns when the last status of the job is written."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._ends: dict[str, anyio.Event] = {}
        self._requeued = anyio.Event()

    async def ended(self, job_id: str) -> JobRecord:
        with anyio.fail_after(30):
            await self._end_of(job_id).wait()
        record = self.job(job_id)
        assert record is not None
        return record

    def _end_of(self, job_id: str) -> anyio.Event:
        return self._ends.setdefault(job_id, anyio.Event())

    def _note(self, record: JobRecord | None) -> JobRecord | None:
        if record is not None and record.status.is_final:
            self._end_of(record.id).set()
        return record

    async def complete(
        self, job_id: str, attempt: int, result: ResultFile, meta: Mapping[str, JSONValue]
    ) -> JobRecord | None:
        return self._note(await super().complete(job_id, attempt, result, meta))

    async def fail(self, job_id: str, attempt: int, code: str, detail: str) -> JobRecord | None:
        return self._note(await super().fail(job_id, attempt, code, detail))

    async def finish_cancel(self, job_id: str, attempt: int) -> JobRecord | None:
        return self._note(await super().finish_cancel(job_id, attempt))


class ScriptedExecutor:
    """
    An executor whose jobs wait until the test calls ``finish`` or ``fail``. ``started()`` returns the next one that has
    started. With ``automatic`` every job completes at once. ``workers`` is an event that the test sets when a worker exists;
    ``claims`` counts the calls that wait for it. ``free_bytes`` is the room for results.
    """

    def __init__(self, results: Path, *, slots: int = 1, automatic: bool = False) -> None:
        self._results = ResultFolder(results)
        self._slots = slots
        self._automatic = automatic
        self._began: deque[Work] = deque()
        self._beginning = anyio.Event()
        self._ends: dict[str, tuple[anyio.Event, list[ExecutionError]]] = {}
        self.stopped: list[str] = []
        self.workers: anyio.Event | None = None
        self.claims = 0
        self.free_bytes = 1 << 40
        self.worker_problem: str | None = None
        self.disk_problem: str | None = None

    @property
    def slots(self) -> int:
        return self._slots

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    async def wait_ready(self) -> None:
        if self.workers is not None:
            await self.workers.wait()

    async def storage_problem(self) -> str | None:
        return self.disk_problem

    def has_room(self, size: int) -> bool:
        return size <= self.free_bytes

    async def started(self) -> Work:
        with anyio.fail_after(30):
            while not self._began:
                await self._beginning.wait()
        return self._began.popleft()

    def finish(self, job_id: str) -> None:
        self._ends[job_id][0].set()

    def fail(self, job_id: str, error: ExecutionError) -> None:
        self._ends[job_id][1].append(error)
        self._ends[job_id][0].set()

    @asynccontextmanager
    async def acquire_slot(self) -> AsyncIterator[Run]:
        if self.workers is not None:
            self.claims += 1
            try:
                await self.workers.wait()
            finally:
                self.claims -= 1
        yield self._run

    async def _run(self, work: Work) -> Outcome:
        end, errors = self._ends[work.job_id] = (anyio.Event(), [])
        self._began.append(work)
        self._beginning.set()
        self._beginning = anyio.Event()
        try:
            if not self._automatic:
                await end.wait()
        except anyio.get_cancelled_exc_class():
            self.stopped.append(work.job_id)
            raise
        if errors:
            raise errors[0]
        result = self._results.write(work.result_name, ARRAY)
        return Outcome(result=result, meta={"sampler": "scripted"})


@dataclass
class Bench:
    """A running platform without sockets. ``account`` has the API key ``"key"``. ``make_app`` makes another application of it."""

    store: WatchedStore
    executor: ScriptedExecutor
    scheduler: Scheduler
    app: ASGIApp
    account: str
    tokens: AccessTokens
    make_app: Callable[..., ASGIApp]

    def token(self, account: str | None = None) -> str:
        """Return an access token of an account, which gets an API key if it has none."""
        account = account or self.account
        name = "local" if account == self.account else f"key of {account}"
        key_hash = hash_api_key("key" if account == self.account else name)
        self.store.add_key(account, key_hash, name=name)
        key = self.store.key(key_hash)
        assert key is not None
        return self.tokens.issue(account, key=key.id)

    def client(self, account: str | None = None) -> httpx.AsyncClient:
        token = self.token(account)
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=False),
            base_url="http://platform",
            headers={"authorization": f"Bearer {token}", "accept-version": "0.4.0"},
        )


@asynccontextmanager
async def open_bench(
    folder: Path,
    *,
    slots: int = 1,
    automatic: bool = False,
    lifetime: float = 300.0,
    offline: str = "",
    limits: Limits = DEFAULTS,
    executor: type[ScriptedExecutor] = ScriptedExecutor,
) -> AsyncIterator[Bench]:
    with closing(WatchedStore(folder / "platform.sqlite3")) as store:
        scripted = executor(folder, slots=slots, automatic=automatic)
        devices = {
            name: replace(device, status="offline") if name == offline else device
            for name, device in build_devices(test_targets=True).items()
        }
        account = store.ensure_account("someone")
        store.add_key(account, hash_api_key("key"), name="local")
        tokens = AccessTokens(store, lifetime=lifetime)
        async with Scheduler(store, scripted, devices, running_limit=limits.running or None) as scheduler:

            def make_app(
                preparation: Preparation | None = _PREPARATION, parse: Parse = parse, **details: Any
            ) -> ASGIApp:
                parts = {
                    "store": store,
                    "scheduler": scheduler,
                    "tokens": tokens,
                    "devices": devices,
                    "results": ResultFolder(folder),
                    "checks": ThreadChecks(ProgramReader(devices, parse, limits, preparation)),
                    "limits": limits,
                }
                return create_app(**{**parts, **details})

            yield Bench(store, scripted, scheduler, make_app(), account, tokens, make_app)
