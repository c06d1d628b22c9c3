"""A disk that takes no more: the system's own refusal, half-way through a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

if sys.platform != "win32":
    import resource


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """For this whole process, on POSIX. Python ignores the signal that comes with it, so what is written beyond is an OSError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
