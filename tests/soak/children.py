"""Processes that exchange lines of JSON with their parent: both ends."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self

RECEIVE_TIMEOUT_SECONDS = 60.0


def send(**values: object) -> None:
    """Send one line to the parent."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def keep_log(path: Path) -> None:
    """Write the log of sfjobs to a file. Other output stays on stderr, where the soak test reports it."""
    logger = logging.getLogger("sfjobs")
    logger.propagate = False
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.setLevel(logging.WARNING)
    logger.addHandler(handler)


def end_with_parent() -> None:
    """End this process when the parent has ended, for a process that reads no more lines."""

    def watch() -> None:
        sys.stdin.read()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Child:
    """A module of the soak test in a process of its own. ``received`` has the latest value of each key that it sent."""

    def __init__(self, module: str, *arguments: str, name: str, folder: Path) -> None:
        self.name = name
        self.received: dict[str, Any] = {}
        self._errors = folder / f"{name}.stderr"
        self._changed = threading.Condition()
        self._has_ended = False
        with self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "always::ResourceWarning", "-m", f"tests.soak.{module}", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._reader = threading.Thread(target=self._receive_all, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def errors(self) -> str:
        """The output on stderr."""
        return self._errors.read_text()

    @property
    def has_ended(self) -> bool:
        return self._has_ended

    def send(self, value: object) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(value) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, which the soak test reports

    def receive(self, key: str) -> Any:
        """Return the value that it sends for this key. Raises RuntimeError when it ends before."""
        with self._changed:
            self._changed.wait_for(lambda: key in self.received or self._has_ended, RECEIVE_TIMEOUT_SECONDS)
            if key not in self.received:
                raise RuntimeError(f"{self.name} has not sent its {key}: {self.errors or 'no output'}")
            return self.received[key]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _receive_all(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.received.update(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()
