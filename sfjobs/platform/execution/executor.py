"""
The interface between the scheduler and the executors. The scheduler manages jobs and their statuses; an executor runs one
attempt at a job and keeps no state of jobs, which is in the store only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from ...models import JSONValue
from ..records import ResultFile

FIRST_RETRY_SECONDS: Final = 1.0
LAST_RETRY_SECONDS: Final = 60.0


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
    """The worker ended while it ran the program, perhaps for a reason outside of it; a further attempt may succeed."""

    def __init__(self, detail: str) -> None:
        super().__init__("worker-lost", detail)


class PlatformTrouble(ExecutionError):
    """
    The platform could not run the attempt or store its result. That says nothing about the job, which waits and runs again.
    ``bytes_needed`` is the room on the disk that its result needs, 0 if that is not the reason.
    """

    def __init__(self, detail: str, *, bytes_needed: int = 0) -> None:
        super().__init__("platform-trouble", detail)
        self.bytes_needed = bytes_needed


def retry_delay(failures: int) -> float:
    """Return the seconds before the next try after this many failures in a row: 0, 1, 2, 4 and so on up to 60."""
    return 0.0 if failures < 1 else min(FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 30), LAST_RETRY_SECONDS)


Run: TypeAlias = Callable[[Work], Awaitable[Outcome]]
"""
Run one attempt to its end.

Raises:
    WorkFailed: the program cannot be run or exceeds a limit.
    WorkerLost: the worker ended while it ran the program.
    PlatformTrouble: the attempt did not begin, or its result could not be stored.

When the calling task is cancelled, the attempt has stopped and uses no processor before the cancellation propagates.
"""


class Executor(AbstractAsyncContextManager["Executor"], Protocol):
    """Runs up to ``slots`` attempts at the same time. An async context manager that owns its workers."""

    @property
    def slots(self) -> int:
        """The number of slots that can be acquired at the same time."""

    def acquire_slot(self) -> AbstractAsyncContextManager[Run]:
        """
        Acquire a slot, wait until it can start an attempt at once, and return the function that runs one attempt. The wait lasts
        as long as no worker can be started and no result can be stored; the executor logs why.
        """

    async def wait_ready(self) -> None:
        """
        Wait until one slot can start an attempt.

        Raises:
            PlatformTrouble: each slot has tried to start a worker, and none could.
        """

    @property
    def worker_problem(self) -> str | None:
        """Why no slot can start an attempt, None if one can or has not tried yet."""

    async def storage_problem(self) -> str | None:
        """Probe, or remember for a moment, whether results can be stored. Return why not, None if they can."""

    def has_room(self, size: int) -> bool:
        """Return whether a result of this many bytes can be stored, as far as that is known."""
