"""A full disk: the system refuses to write more in the middle of a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

if sys.platform != "win32":
    import resource


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Limit the size of files for this whole process, on POSIX. Python ignores SIGXFSZ, so writing more is an OSError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
