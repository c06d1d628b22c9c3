"""What the processes that the platform starts do first."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import IO, Final

_PR_SET_PDEATHSIG: Final = 1


def redirect_stdout() -> IO[bytes]:
    """Return the real standard output, and point file descriptor 1 to the standard error."""
    real = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return real


def end_with_parent() -> None:
    """
    Ask the kernel to kill this process when its parent ends. While native code holds the interpreter lock, perhaps for an
    hour, nothing else here can see the end of the input; a child of a killed platform would take processor time from the next.
    """
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent ended before the call
            os._exit(0)
