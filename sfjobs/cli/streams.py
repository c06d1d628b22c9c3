"""
The standard streams of the command: any of them may be closed, a pipe whose other end has gone, or in an encoding that has few
characters. Imports little: it is prepared before anything else.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_STDERR = 2


def prepare() -> None:
    """
    Make the streams of this process safe to use: one that was closed before the start reads nothing and keeps nothing, and
    standard error never fails, so that a note that cannot be read costs no job.
    """
    _occupy()
    escape()
    if sys.stderr.fileno() == _STDERR:
        raw = _Notes(_STDERR, "wb", closefd=False)
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(raw), encoding=sys.stderr.encoding, errors="backslashreplace", line_buffering=True
        )


def escape() -> None:
    """Escape what the encodings of the standard streams do not have, as ``\\xe9``, where they would raise."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def flush() -> None:
    """Flush standard output. Raises OSError; what it could not write is dropped, or the interpreter would try again."""
    try:
        sys.stdout.flush()
    except OSError:
        discard()
        raise


def discard() -> None:
    """Send what is still to be written on standard output nowhere."""
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):  # a stream in memory
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


def read_text() -> str:
    """Return all of standard input as text: UTF-8, or UTF-16 where its byte order mark says so, as Windows writes it."""
    buffer = getattr(sys.stdin, "buffer", None)
    if buffer is None:
        return sys.stdin.read()
    content: bytes = buffer.read()
    is_utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    return content.decode("utf-16" if is_utf16 else "utf-8-sig", "replace")


def encodable(text: str) -> str:
    """Return ``text`` with the characters that standard output cannot encode escaped, so that its width is known."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding, "replace")


def is_closed_pipe(error: OSError) -> bool:
    return error.errno == errno.EPIPE


class _Notes(io.FileIO):
    """Standard error: what cannot be written is dropped."""

    def write(self, data: ReadableBuffer) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def _occupy() -> None:
    """Open the null device in the place of closed streams. The next file or socket would take its number, and get its text."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
