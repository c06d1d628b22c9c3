"""Processes that speak to their parent in lines of JSON: both ends."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

PATIENCE = 60.0


def tell(**words: object) -> None:
    """One line for the parent."""
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def keep_log(path: Path) -> None:
    """What sfjobs logs goes into a file; what anybody else has to say stays on stderr, where the soak minds it."""
    logger = logging.getLogger("sfjobs")
    logger.propagate = False
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.setLevel(logging.WARNING)
    logger.addHandler(handler)


def end_with_parent() -> None:
    """For those that hear nothing more: when the parent has ended, in whatever way, this process does."""

    def watch() -> None:
        sys.stdin.read()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Child:
    """A module of the soak that runs by itself; ``heard`` is the newest of each word that it has told."""

    def __init__(self, module: str, *arguments: str, name: str, folder: Path) -> None:
        self.name = name
        self.heard: dict[str, Any] = {}
        self._errors = folder / f"{name}.stderr"
        self._news = threading.Condition()
        self._listeners: list[Callable[[dict[str, Any]], None]] = []
        self._has_ended = False
        with self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "always::ResourceWarning", "-m", f"tests.soak.{module}", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def complaints(self) -> str:
        """What it has written to stderr."""
        return self._errors.read_text()

    @property
    def has_ended(self) -> bool:
        return self._has_ended

    def tell(self, words: object) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(words) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, which others notice

    def hear(self, word: str, patience: float = PATIENCE) -> Any:
        """What it tells under this word, now or soon. Raises RuntimeError when it ends before."""
        with self._news:
            self._news.wait_for(lambda: word in self.heard or self._has_ended, patience)
            if word not in self.heard:
                raise RuntimeError(f"{self.name} has not told its {word}: {self.complaints or 'and says nothing'}")
            return self.heard[word]

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

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.heard.update(json.loads(line))
                self._news.notify_all()
        with self._news:
            self._has_ended = True
            self._news.notify_all()
