"""A job of a ``FakePlatform`` as its test sees it, and the results it gives. No program runs."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, cast

from ..models import JobStatus, JSONValue
from .scripted_job import ScriptedJob


class ArrayLike(Protocol):
    """An array of numpy, or what numpy makes one of."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any: ...


ResultSource: TypeAlias = ArrayLike | Sequence[object] | Callable[["FakeJob"], ArrayLike | Sequence[object]]
"""
An array of shape (shots, modes) or nested lists, a list of numpy arrays where a job has several outputs, or a function of the job
that returns one of them.
"""

_SHOTS = re.compile(r"\bshots\s*=\s*(\d+)")
_MODES = re.compile(r"\|\s*[\[(]?\s*([\d,\s]+)")


class FakeJob:
    """
    A job as the platform has it. It ends when the test says so, or after its ``run_time`` by the platform's clock.

    All methods are safe to call from any thread. A job that has ended stays as it is: those that would change it raise
    ``ValueError``.
    """

    def __init__(self, job: ScriptedJob) -> None:
        self._job = job
        self._result: ResultSource | None = None
        self._files: dict[str, bytes] = {}

    @property
    def id(self) -> str:
        """The id that clients use."""
        return self._job.id

    @property
    def name(self) -> str | None:
        """The name that the submission gave it."""
        return self._job.name

    @property
    def target(self) -> str:
        """The device that it was submitted to."""
        return self._job.target

    @property
    def program(self) -> str:
        """The text of its program as it was submitted."""
        return self._job.program

    @property
    def shots(self) -> int:
        """The number of shots in the header of its program, 1 without such a number."""
        found = _SHOTS.search(self.program)
        return int(found[1]) if found else 1

    @property
    def modes(self) -> int:
        """The number of modes that the statements of its program name, at least 1."""
        numbers = [int(mode) for modes in _MODES.findall(self.program) for mode in re.findall(r"\d+", modes)]
        return max(numbers, default=0) + 1

    @property
    def meta(self) -> dict[str, JSONValue]:
        """What clients get as ``meta``. May be changed."""
        return self._job.meta

    @property
    def status(self) -> JobStatus:
        """The status at present."""
        self._job.host.change(self._job, lambda: None)
        return self._job.status

    def start(self) -> None:
        """Let it begin to run."""
        self._become(JobStatus.QUEUED)

    def complete(self, result: ResultSource | None = None) -> None:
        """Let it end with a result, by default that of the platform."""

        def keep_result() -> None:
            self._result = result

        self._become(JobStatus.COMPLETED, keep_result)

    def fail(self, detail: str = "the test let it fail", code: str = "scripted-failure") -> None:
        """Let it fail. Both texts are in its ``meta``, as ``error-detail`` and ``error-code``."""
        self._become(JobStatus.FAILED, lambda: self.meta.update({"error-code": code, "error-detail": detail}))

    def cancel(self) -> None:
        """Let it be cancelled by another program than the one under test."""
        self._become(JobStatus.CANCELLED)

    def end_after(self, seconds: float, status: JobStatus | str = "complete") -> None:
        """Let it run, and end with this status after so many seconds from now."""
        self._change(lambda: self._job.end_in(seconds, JobStatus(status)))

    def __repr__(self) -> str:
        return f"<FakeJob {self.id}: {self._job.status}>"

    def _become(self, status: JobStatus, before: Callable[[], None] = lambda: None) -> None:
        def apply() -> None:
            before()
            self._job.become(status, self._job.host.now())

        self._change(apply)

    def _change(self, apply: Callable[[], None]) -> None:
        def unless_ended() -> None:
            if self._job.status.is_final:
                raise ValueError(f"job {self.id} has ended, it is {self._job.status}: nothing can change it")
            apply()

        self._job.host.change(self._job, unless_ended)

    def _result_file(self, kind: str) -> bytes:
        if kind not in self._files:
            default = cast("ResultSource | None", self._job.host.default_result())
            self._files[kind] = _file(self, default if self._result is None else self._result, kind)
        return self._files[kind]


def result_file(job: FakeJob, kind: str) -> bytes:
    """Return the result of a job as an ``npz`` or ``npy`` file. A function that makes it is called once for each."""
    return job._result_file(kind)  # noqa: SLF001 - public names are for tests


def _file(job: FakeJob, source: ResultSource | None, kind: str) -> bytes:
    import numpy as np  # a test that fetches no result need not wait for it

    if callable(source):
        source = source(job)
    if source is None:
        source = np.zeros((job.shots, job.modes), dtype=np.int64)
    is_many = isinstance(source, list) and bool(source) and all(isinstance(part, np.ndarray) for part in source)
    arrays = [np.asarray(part) for part in (cast("list[ArrayLike]", source) if is_many else [source])]
    file = io.BytesIO()
    if kind == "npy":
        np.save(file, arrays[0], allow_pickle=False)
    else:
        np.savez(file, *arrays)
    return file.getvalue()
