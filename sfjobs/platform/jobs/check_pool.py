"""
Where and when programs are checked. A cheap one is checked in a thread of this process, in a few milliseconds. A dear one goes to
a process, which is killed when the client disconnects or the time is over. Both have fair turns for each account.

Processes are started when the first dear program comes: each takes a second and 100 MB.
"""

from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from typing import Any, Final, Self

import anyio
import anyio.to_thread
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from ..errors import ApiError
from ..execution.environment import child_environment
from ..limits import Limits
from .fair_turns import FairTurns, Turn
from .program_check import CheckedProgram, ProgramReader

CHECK_TIMEOUT_SECONDS = 30.0
"""For one program in a process. The dearest program within the limits takes 7 s on an idle machine."""

_START_TIMEOUT_SECONDS: Final = 60.0
_START_SECONDS: Final = 1.0
"""Of one core. It is charged to the account whose check ended a process."""

_MAX_REPLY_BYTES: Final = 1 << 20
_PROCESS: Final = "sfjobs.platform.jobs.check_process"
_log = logging.getLogger(__name__)


class ThreadChecks:
    """Checks all programs in threads of this process, cheap and dear ones apart. A check cannot be stopped."""

    def __init__(self, reader: ProgramReader) -> None:
        self._reader = reader
        self._cheap = FairTurns(1)
        self._dear = FairTurns(1)

    async def check(
        self, account: str, circuit: str, target: str | None, *, prepare_until: float = math.inf
    ) -> CheckedProgram:
        """
        Return the checked program. It is not prepared if its turn came after ``prepare_until``, in the time of the event loop.
        Raises ``ApiError``.
        """
        async with self._cheap.turn(account):
            checked = await anyio.to_thread.run_sync(self._reader.check_if_cheap, circuit, target)
        if checked is not None:
            return checked
        async with self._dear.turn(account) as turn:
            is_late = anyio.current_time() > prepare_until
            return await self._check_dear(turn, circuit, target, prepare=not is_late)

    async def _check_dear(self, turn: Turn, circuit: str, target: str | None, *, prepare: bool) -> CheckedProgram:
        del turn
        return await anyio.to_thread.run_sync(self._read_and_prepare, circuit, target, prepare)

    def _read_and_prepare(self, circuit: str, target: str | None, prepare: bool) -> CheckedProgram:
        checked, program, seconds = self._reader.read(circuit, target)
        if seconds and prepare:
            self._reader.prepare(program, checked.shots)
        return replace(checked, is_complete=prepare or not seconds)


class CheckPool(ThreadChecks, anyio.AsyncContextManagerMixin):
    """Checks dear programs in ``processes``, which run inside its context. ``reader`` is that of the cheap ones."""

    def __init__(self, reader: ProgramReader, limits: Limits, *, test_targets: bool, processes: int = 0) -> None:
        super().__init__(reader)
        count = processes or min(2, os.cpu_count() or 1)
        self._dear = FairTurns(count)
        options = {
            "limits": asdict(limits),
            "test_targets": test_targets,
            "prepares": reader.preparation is not None,
        }
        self._command = [sys.executable, "-P", "-m", _PROCESS, json.dumps(options)]
        self._idle: list[_CheckProcess] = []
        self._all: set[_CheckProcess] = set()

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the running processes."""
        return tuple(process.pid for process in self._all)

    @property
    def busy(self) -> int:
        """The number of processes that start or check a program."""
        return len(self._all) - len(self._idle)

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        try:
            yield self
        finally:
            with anyio.CancelScope(shield=True):
                for process in tuple(self._all):
                    await self._discard(process)

    async def _check_dear(self, turn: Turn, circuit: str, target: str | None, *, prepare: bool) -> CheckedProgram:
        process = await self._ready_process()
        try:
            reply = await process.check(circuit, target, prepare=prepare)
        except BaseException as error:
            turn.extra_seconds = _START_SECONDS
            with anyio.CancelScope(shield=True):
                await self._discard(process)
            if not isinstance(error, _CheckLost):
                raise
            return _read_before(error, process)
        finally:
            if process in self._all:
                self._idle.append(process)
        if isinstance(reply, ApiError):
            raise reply
        return reply

    async def _ready_process(self) -> _CheckProcess:
        while self._idle:
            process = self._idle.pop()
            if not process.has_exited:
                return process
            await self._discard(process)
        with anyio.CancelScope(shield=True):  # a process that was started but not recorded would run for ever
            try:
                process = await _CheckProcess.start(self._command)
            except OSError as error:
                raise _unavailable(f"no process could be started: {error}") from error
            self._all.add(process)
        try:
            with anyio.fail_after(_START_TIMEOUT_SECONDS):
                await process.wait_ready()
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await self._discard(process)
            if isinstance(error, _CheckLost | TimeoutError):
                raise _unavailable(f"a process ended or hung while it was starting: {error}") from error
            raise
        return process

    async def _discard(self, process: _CheckProcess) -> None:
        self._all.discard(process)
        await process.kill()


def _read_before(error: _CheckLost, process: _CheckProcess) -> CheckedProgram:
    """Return the program if only its preparation is missing: the worker then decides."""
    if process.read is None:
        raise _unavailable(f"the check of a program was lost: {error}") from error
    _log.warning("a program is accepted without its preparation, and the worker decides: %s", error)
    return replace(process.read, is_complete=False)


def _unavailable(reason: str) -> ApiError:
    _log.error("a program could not be checked; its client is asked to submit it again: %s", reason)
    detail = "The platform could not check the program now. Submit again later."
    return ApiError(503, "check-unavailable", detail, headers={"retry-after": "10"})


class _CheckLost(Exception):
    """The process ended, or the time was over."""


class _CheckProcess:
    """One process and its pipes. ``read`` is the program that it has read but not yet prepared."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._input = process.stdin
        self._replies = BufferedByteReceiveStream(process.stdout)
        self.read: CheckedProgram | None = None
        self.pid = process.pid

    @classmethod
    async def start(cls, command: list[str]) -> Self:
        process = await anyio.open_process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None,
            env=child_environment(),
            start_new_session=True,  # Ctrl-C in a terminal goes to the server only
        )
        return cls(process)

    @property
    def has_exited(self) -> bool:
        return self._process.returncode is not None

    async def wait_ready(self) -> None:
        await self._receive()

    async def check(self, circuit: str, target: str | None, *, prepare: bool) -> CheckedProgram | ApiError:
        """
        Check one program. After a cancellation or an error the process cannot be used any more. Raises ``_CheckLost``.
        """
        self.read = None
        with anyio.move_on_after(CHECK_TIMEOUT_SECONDS) as timeout:
            text = circuit.encode()
            request = {"size": len(text), "target": target, "prepare": prepare}
            try:
                await self._input.send(json.dumps(request).encode() + b"\n" + text)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
                raise _CheckLost(f"process {self.pid} ended before it received the program") from error
            while True:
                reply = await self._receive()
                if reply["event"] == "refused":
                    return ApiError(reply["status_code"], reply["code"], reply["detail"], reply["meta"])
                if reply["event"] == "done":
                    assert self.read is not None
                    return replace(self.read, is_complete=reply["is_complete"])
                self.read = CheckedProgram.from_json(reply["program"])
        assert timeout.cancelled_caught
        raise _CheckLost(f"it took longer than {CHECK_TIMEOUT_SECONDS:g} s")

    async def _receive(self) -> dict[str, Any]:
        try:
            reply: dict[str, Any] = json.loads(await self._replies.receive_until(b"\n", _MAX_REPLY_BYTES))
        except (anyio.IncompleteRead, anyio.DelimiterNotFound, anyio.BrokenResourceError) as error:
            raise _CheckLost(f"process {self.pid} ended") from error
        return reply

    async def kill(self) -> None:
        """Kill the process and wait until it has ended."""
        if not self.has_exited:
            try:
                self._process.kill()
            except ProcessLookupError:
                _log.debug("check process %d had already ended", self.pid)
        await self._process.wait()
        for stream in (self._input, self._replies):
            await stream.aclose()
