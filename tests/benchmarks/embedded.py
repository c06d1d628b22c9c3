"""The embedded platform in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Embedded:
    url: str
    api_key: str
    pid: int


@contextmanager
def embedded_platform() -> Iterator[Embedded]:
    """Run ``sfjobs serve`` during the block."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "sfjobs", "serve", "--json", "--port", "0", "--data-dir", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                announced = json.loads(process.stdout.readline())
                yield Embedded(announced["url"], Path(announced["api_key_file"]).read_text().strip(), process.pid)
            finally:
                process.terminate()
