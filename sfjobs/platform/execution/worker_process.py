"""
One worker process on the side of the platform: its start, its three pipes, and its end together with all its children.

Every reply of a worker is checked here. A worker that breaks the protocol, or does not respond where no program runs, is ended by
the caller, ``process_executor``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Self

import anyio
from anyio.abc import Process, TaskGroup
from anyio.streams.buffered import BufferedByteReceiveStream

from .executor import PlatformTrouble, Work, WorkerLost, WorkFailed
from .replies import BrokenReply, Reply, read_reply, work_line

ENDS_WITH_PARENT: Final = "ends-with-parent"
RESPONSE_SECONDS: Final = 60.0
"""For the start of a worker, and for its receipt of a job. A worker that is stopped or swapped out must not keep a job."""

_CPU_TIME_EXCEEDED: Final = -signal.SIGXCPU if sys.platform != "win32" else None
_MAX_REPLY_BYTES: Final = 4 << 20
_MAX_ERROR_LINES: Final = 20
_MAX_ERROR_LINE_BYTES: Final = 500
_KILL_SECONDS: Final = 5.0
"""For the end of a process that was killed or has closed its output."""
_EXIT_POLL_SECONDS: Final = 0.1
_log = logging.getLogger(__name__)


class WorkerProcess:
    """A worker process. ``has_begun`` says whether it has ever begun to run a job."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._input = process.stdin
        self._replies = BufferedByteReceiveStream(process.stdout)
        self._errors = process.stderr
        self._last_errors: deque[str] = deque(maxlen=_MAX_ERROR_LINES)
        self._errors_ended = anyio.Event()
        self._task = "while it was starting"
        self.has_begun = False
        self.pid = process.pid

    @classmethod
    async def start(cls, command: Sequence[str], environment: Callable[[], dict[str, str]], tasks: TaskGroup) -> Self:
        """
        Start a process, and wait until it is ready for a job.

        Raises:
            PlatformTrouble: it cannot be started, or ended or did not respond while it was starting.
        """
        try:
            # Shielded: a process that was started but not recorded would run for ever.
            with anyio.CancelScope(shield=True):
                process = await anyio.open_process(
                    [*command, ENDS_WITH_PARENT] if _starts_processes_in_this_thread() else command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=environment(),
                    start_new_session=True,  # a group with its children; Ctrl-C goes to the server only
                )
        except (OSError, RuntimeError, ValueError) as error:  # no descriptor, process, thread or memory, or no Python
            raise PlatformTrouble(f"no worker process can be started: {error}") from error
        worker = cls(process)
        tasks.start_soon(worker._read_errors)
        tasks.start_soon(worker._watch)
        try:
            await worker._wait_ready()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await worker.kill()
            raise
        return worker

    @property
    def has_exited(self) -> bool:
        return self._process.returncode is not None

    async def _wait_ready(self) -> None:
        with anyio.move_on_after(RESPONSE_SECONDS) as scope:
            try:
                reply = await self._reply()
            except (BrokenReply, _Ended) as error:
                raise PlatformTrouble(await self._what_happened(error, 1)) from error
        if scope.cancelled_caught:
            raise PlatformTrouble(f"worker {self.pid} was not ready after {RESPONSE_SECONDS:g} s")
        if reply.event != "ready":
            raise PlatformTrouble(f"worker {self.pid} sent '{reply.event}' while it was starting")

    async def run(self, work: Work, time_limit: float) -> Reply:
        """
        Run one attempt, for up to ``time_limit`` seconds, and return the last reply. After an exception, kill the worker.

        Raises:
            WorkFailed: it used up its time, or the reply cannot be read.
            WorkerLost: the worker ended while it ran the program.
            PlatformTrouble: the attempt did not begin.
        """
        self._last_errors.clear()
        self._task = f"while it ran job {work.job_id}"
        try:
            await self._begin(work)
            self.has_begun = True
            with anyio.move_on_after(time_limit) as scope:
                return await self._reply(work)
            assert scope.cancelled_caught
            raise _time_limit_exceeded(self.pid, time_limit, work)
        except _Ended as error:
            what = await self._what_happened(error)
            if error.status == _CPU_TIME_EXCEEDED:
                detail = "the job used more processor time than this platform allows"
                raise WorkFailed("time-limit", detail) from error
            _log.warning("job %s, attempt %d: %s", work.job_id, work.attempt, what)
            raise WorkerLost(f"the worker ended with {_status(error.status)} while it ran the job") from error
        except BrokenReply as error:
            what = await self._what_happened(error)
            _log.error("job %s fails, and its worker is replaced: %s", work.job_id, what)
            raise WorkFailed("internal-error", "the answer of the worker that ran the job cannot be read") from error

    async def _begin(self, work: Work) -> None:
        try:
            with anyio.move_on_after(RESPONSE_SECONDS) as scope:
                await self._input.send(work_line(work))
                reply = await self._reply()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError, _Ended) as error:
            raise PlatformTrouble(f"worker {self.pid} ended before it began") from error
        except BrokenReply as error:
            raise PlatformTrouble(f"worker {self.pid} broke the protocol before it began: {error}") from error
        if scope.cancelled_caught:
            raise PlatformTrouble(f"worker {self.pid} did not begin within {RESPONSE_SECONDS:g} s")
        if reply.event != "began":
            raise PlatformTrouble(f"worker {self.pid} sent '{reply.event}' before it began")

    async def _reply(self, work: Work | None = None) -> Reply:
        try:
            line = await self._replies.receive_until(b"\n", _MAX_REPLY_BYTES)
        except anyio.DelimiterNotFound as error:
            raise BrokenReply(f"more than {_MAX_REPLY_BYTES} bytes") from error
        except (anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as error:
            with anyio.move_on_after(_KILL_SECONDS):  # it may have closed its output only
                await self._wait_exit()
            raise _Ended(self._process.returncode) from error
        return read_reply(line, work)

    async def _what_happened(self, error: BrokenReply | _Ended, lines: int = _MAX_ERROR_LINES) -> str:
        """Describe the end of this worker for the log, with the last lines of its standard error."""
        if isinstance(error, _Ended):
            with anyio.move_on_after(1):
                await self._errors_ended.wait()
            what = f"worker {self.pid} ended with {_status(error.status)}"
        else:
            what = f"worker {self.pid} sent an answer that cannot be read ({error})"
        return f"{what} {self._task}: {' | '.join(list(self._last_errors)[-lines:]) or 'it wrote no error'}"

    async def _read_errors(self) -> None:
        """Log what the worker writes to its standard error, so that the pipe never fills; keep the last lines for the log."""
        text = b""
        try:
            async for chunk in self._errors:
                *lines, text = (text + chunk).split(b"\n")
                for line in lines:
                    self._last_errors.append(line[:_MAX_ERROR_LINE_BYTES].decode(errors="replace"))
                    _log.info("worker %d %s: %s", self.pid, self._task, self._last_errors[-1])
                text = text[-_MAX_ERROR_LINE_BYTES:]
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            return  # killed and closed during the read
        finally:
            self._errors_ended.set()

    async def _watch(self) -> None:
        """End the children of a worker that has ended: they would keep its pipes open and its processor busy."""
        while not self.has_exited:
            # Some versions of asyncio return from the wait only when the pipes are closed, which a child may hold.
            with anyio.move_on_after(_KILL_SECONDS):
                await self._process.wait()
        self._kill_group()

    async def kill(self) -> None:
        """Kill the process and its children, and wait until it has ended."""
        if not self.has_exited:
            self._kill_group()
        with anyio.move_on_after(_KILL_SECONDS) as scope:
            await self._wait_exit()
        if scope.cancelled_caught:
            _log.error("worker %d has been killed and does not end; it waits for the system, perhaps a disk", self.pid)
        for stream in (self._input, self._replies, self._errors):
            await stream.aclose()

    async def _wait_exit(self) -> None:
        while not self.has_exited:
            with anyio.move_on_after(_EXIT_POLL_SECONDS):
                await self._process.wait()

    def _kill_group(self) -> None:
        try:
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # macOS answers so for a process that has ended
            _log.debug("worker %d had already ended", self.pid)


class _Ended(Exception):
    """The worker has ended, or closed its output. ``status`` is its return code."""

    def __init__(self, status: int | None) -> None:
        super().__init__(status)
        self.status = status


def _status(status: int | None) -> str:
    if status is None or status >= 0:
        return f"status {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else "a signal"
    hint = ", perhaps since the memory of the machine was used up" if name == "SIGKILL" else ""
    return f"status {status} ({name}{hint})"


def _time_limit_exceeded(pid: int, limit: float, work: Work) -> WorkFailed | WorkerLost:
    if _is_stopped(pid):
        _log.warning("job %s, attempt %d: worker %d was stopped by a signal", work.job_id, work.attempt, pid)
        return WorkerLost("the worker was stopped by a signal and did not go on")
    return WorkFailed("time-limit", f"the job ran longer than the {limit:g} s that this platform allows")


def _is_stopped(pid: int) -> bool:
    """Return whether a process was stopped by SIGSTOP or a debugger. Always False where the system does not say it."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] in {b"T", b"t"}
    except (OSError, IndexError):
        return False


def _starts_processes_in_this_thread() -> bool:
    """
    Return whether this is asyncio, which starts processes in the calling thread. Trio uses a helper thread, which ends when it
    has been idle for a while; Linux would report that as the end of the parent (``PR_SET_PDEATHSIG``).
    """
    return anyio.get_cancelled_exc_class() is asyncio.CancelledError
