"""Child processes of tests: they end with the block that starts them, and one can be started as a shell's ``&`` does."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


class Child(subprocess.Popen[str]):
    """
    A process that ``with`` waits for, and kills when the block fails or the test's timeout interrupts the wait. Without this a
    child that does not end would stop the whole run: ``Popen.__exit__`` waits without a timeout.
    """

    def __exit__(self, *details: object) -> None:
        if details[0] is not None:
            self.kill()
        try:
            super().__exit__(*details)  # type: ignore[arg-type]
        finally:
            self.kill()  # does nothing to a process that has ended
            self.wait()


@contextmanager
def ignored_sigint() -> Iterator[None]:
    """Start processes as ``command &`` in a script and ``nohup`` do: children inherit that SIGINT is ignored."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
