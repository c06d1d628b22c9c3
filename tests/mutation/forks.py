"""Runs of pytest in forks of a process that has imported what tests need: that takes longer than most tests."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

PRELOADED = (
    *("anyio", "trio.testing", "httpx", "h11", "numpy", "sqlite3", "platformdirs", "coverage"),
    *("hypothesis", "hypothesis.strategies", "respx", "pytest_timeout", "starlette.applications", "uvicorn", "lark"),
)
"""Nothing of sfjobs is imported before the fork."""

TIMED_OUT = -1


def preload() -> None:
    for name in PRELOADED:
        importlib.import_module(name)


def run_in_fork(call: Callable[[], int], folder: Path, log: Path, timeout: float) -> int:
    """Return what ``call`` returns in a fork that has ``folder`` for its working directory; ``TIMED_OUT`` after a timeout."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _be_child(call, folder, log)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            _kill_group(child)
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    _kill_group(child)
    os.waitpid(child, 0)
    return TIMED_OUT


def _be_child(call: Callable[[], int], folder: Path, log: Path) -> None:
    code = 70
    try:
        os.setsid()
        os.chdir(folder)
        os.environ["PYTHONPATH"] = str(folder)
        sys.path.insert(0, str(folder))
        for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "sfjobs")]:
            del sys.modules[name]
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        code = call()
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - a fork must not go on with its parent's work
        traceback.print_exc()
    finally:
        os._exit(code)


def _kill_group(child: int) -> None:
    """End what the tests have left running."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
