"""
The seam between the scheduler, which knows jobs, and the places where programs run, which know work. Executors hold no state
of jobs: that lives in the store alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from ...models import JSONValue
from ..records import ResultFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One attempt at one job, as plain data. The seed makes a second attempt give the same result as the first."""

    job_id: str
    attempt: int
    target: str
    circuit: str
    shots: int
    seed: int

    @property
    def result_name(self) -> str:
        """The file that its result becomes: of this attempt, since another's may still be there."""
        return f"{self.job_id}-{self.attempt}.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A result that is durable in the folder of results, and what is to be said about it in the job's ``meta``."""

    result: ResultFile
    meta: Mapping[str, JSONValue] = field(default_factory=dict)


class ExecutionError(Exception):
    """Work did not give an outcome. ``code`` and ``detail`` are words for the job's owner."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class WorkFailed(ExecutionError):
    """The program cannot be run, or has passed a limit: it would fail in the same way again."""


class WorkerLost(ExecutionError):
    """Whoever ran the work is gone, for a reason that need not lie in the program: it may be tried again."""

    def __init__(self, detail: str) -> None:
        super().__init__("worker-lost", detail)


Run: TypeAlias = Callable[[Work], Awaitable[Outcome]]


class Executor(Protocol):
    """Runs up to ``slots`` pieces of work at once; an async context manager around all that it owns."""

    @property
    def slots(self) -> int:
        """How many places may be taken at the same time."""

    def place(self) -> AbstractAsyncContextManager[Run]:
        """
        One of the slots, taken when it can run something at once: a function that runs one piece of work to its end. It raises
        ``WorkFailed`` or ``WorkerLost``, also where no worker could be started. When the task that calls it is cancelled, the
        work has stopped, and uses no processor any more, before it raises.
        """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None: ...
