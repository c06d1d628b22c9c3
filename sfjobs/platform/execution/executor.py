"""
The interface between the scheduler and the executors. The scheduler manages jobs and their statuses; an executor runs one
attempt at a job and keeps no state of jobs, which is in the store only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from ...models import JSONValue
from ..records import ResultFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One attempt at one job, as plain data. With the same seed, each attempt gives the same result."""

    job_id: str
    attempt: int
    target: str
    circuit: str
    shots: int
    seed: int

    @property
    def result_name(self) -> str:
        """The file name of the result. It contains the attempt, because the file of an earlier attempt may still exist."""
        return f"{self.job_id}-{self.attempt}.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A result that is durable in the folder of results, and the entries that it adds to the job's ``meta``."""

    result: ResultFile
    meta: Mapping[str, JSONValue] = field(default_factory=dict)


class ExecutionError(Exception):
    """An attempt without an outcome. The owner of the job gets ``code`` and ``detail``."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class WorkFailed(ExecutionError):
    """The program cannot be run or exceeds a limit; a further attempt would fail in the same way."""


class WorkerLost(ExecutionError):
    """The worker ended or could not be started, perhaps for a reason outside the program; a further attempt may succeed."""

    def __init__(self, detail: str) -> None:
        super().__init__("worker-lost", detail)


Run: TypeAlias = Callable[[Work], Awaitable[Outcome]]
"""
Run one attempt to its end.

Raises:
    WorkFailed: the program cannot be run or exceeds a limit.
    WorkerLost: the worker ended, or none could be started.

When the calling task is cancelled, the attempt has stopped and uses no processor before the cancellation propagates.
"""


class Executor(AbstractAsyncContextManager["Executor"], Protocol):
    """Runs up to ``slots`` attempts at the same time. An async context manager that owns its workers."""

    @property
    def slots(self) -> int:
        """The number of slots that can be acquired at the same time."""

    def acquire_slot(self) -> AbstractAsyncContextManager[Run]:
        """Acquire a slot, wait until it can start an attempt at once, and return the function that runs one attempt."""
