"""SIGTERM and SIGHUP end a command as Ctrl-C does: it leaves no process, file or hidden cursor behind, and says what goes on."""

from __future__ import annotations

import signal
import sys
from types import FrameType

_received: list[int] = []


def install() -> None:
    """Handle SIGTERM and SIGHUP, unless they are ignored, as after ``nohup``. ``sfjobs serve`` replaces the first."""
    numbers = [signal.SIGTERM] if sys.platform == "win32" else [signal.SIGTERM, signal.SIGHUP]
    for number in numbers:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)


def received() -> int | None:
    """Return the number of the signal that ends this command, None where there was none."""
    return _received[0] if _received else None


def _end(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
    interrupt = signal.getsignal(signal.SIGINT)
    if not callable(interrupt):  # ignored, as after `sfjobs wait ID &` in a script
        interrupt = signal.default_int_handler
    interrupt(signal.SIGINT, frame)
