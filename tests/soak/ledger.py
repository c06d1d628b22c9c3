"""What the clients of one process record: each program's job and final status, and the errors on the way."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from .programs import Program


@dataclass(frozen=True, slots=True)
class Line:
    """The end of one program as its client saw it. ``result`` is whether its samples were right, None without samples."""

    number: int
    job_id: str
    status: str
    cancelled: bool
    result: bool | None

    @property
    def problem(self) -> str | None:
        """What is wrong with this line by itself, None if nothing is."""
        program = Program(self.number)
        start = f"program {self.number} ({program.kind}), job {self.job_id}"
        if self.status != program.status and not (self.cancelled and self.status == "cancelled"):
            return f"{start}: {self.status} and not {program.status}"
        if (self.result is not True) if self.status == "complete" else (self.result is not None):
            return f"{start}: {self.status}, with {'a wrong' if self.result is False else 'no'} result"
        return None


class Ledger:
    """Kept on disk, because growing memory would look like a leak. ``troubles`` counts the errors raised to callers."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w")
        self._lock = threading.Lock()
        self.done = 0
        self.troubles: Counter[str] = Counter()

    def write(self, line: Line) -> None:
        with self._lock:
            self._file.write(json.dumps(asdict(line)) + "\n")
            self.done += 1

    def note(self, doing: str, error: BaseException) -> None:
        with self._lock:
            self.troubles[f"{doing}: {type(error).__name__}"] += 1

    def close(self) -> None:
        self._file.close()


def read(path: Path) -> Iterator[Line]:
    with path.open() as file:
        for line in file:
            yield Line(**json.loads(line))
