"""The command ``sfjobs`` as a process of its own, and a script for it to run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

from tests.support.paths import ROOT
from tests.support.processes import Child

PROGRAM = """name demo
version 1.0
target simulon_gaussian (shots=20)

S2gate(0.8, 0.0) | [0, 1]
MeasureFock() | [0, 1]
"""


def start(*words: str, **options: Any) -> Child:
    """Start ``sfjobs words`` with pipes for both outputs; every warning is an error."""
    defaults: dict[str, Any] = {
        "env": os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"},
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }
    return Child([sys.executable, "-m", "sfjobs", *words], encoding="utf-8", **defaults | options)


def read_until(process: Child, text: str, *, stream: str = "stdout") -> list[str]:
    """The lines of an output up to the one that contains ``text``."""
    lines = []
    for line in getattr(process, stream):
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(f"{text!r} is not in {lines}, and the process has ended: {process.communicate()}")


def stop(process: Child) -> str:
    """Interrupt ``sfjobs serve``, which must end well, and return what it wrote to stderr."""
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return errors
