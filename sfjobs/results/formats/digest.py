"""
The SHA-256 of a body, in steps between which one may stop. Of one that is decoded it is wanted seldom, and costs three times
what a CRC-32 does, so what lies in arrays is only hashed when somebody asks. Called by ``npz``, and for files by ``cache`` and
``spooling``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import IO

from .npy import HASHED_BYTES

COPIED_BYTES = 1 << 20
"""Bytes that pass are copied up to here, rather than hash an array before them that nobody may ask about."""


_READ_BYTES = 1 << 20


class Fingerprint:
    """Takes the parts of a body in their order."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self._waiting: list[bytes | memoryview] = []
        self._copied = 0

    def keep(self, part: bytes | memoryview) -> None:
        """Bytes that stay as they are until ``digest``."""
        self._waiting.append(part)

    def add(self, part: memoryview) -> None:
        """Bytes that will be overwritten."""
        if not self._waiting:
            self._sha.update(part)
            return
        self._waiting.append(bytes(part))
        self._copied += len(part)
        if self._copied > COPIED_BYTES:
            self._hash_waiting(lambda: None)

    def digest(self, checkpoint: Callable[[], None] = lambda: None) -> bytes:
        """The SHA-256 so far; ``checkpoint`` is called every few milliseconds and may raise to stop."""
        self._hash_waiting(checkpoint)
        return self._sha.digest()

    def _hash_waiting(self, checkpoint: Callable[[], None]) -> None:
        for part in self._waiting:
            view = memoryview(part)
            for start in range(0, len(view), HASHED_BYTES):
                self._sha.update(view[start : start + HASHED_BYTES])
                checkpoint()
        self._waiting.clear()
        self._copied = 0


def file_digest(file: IO[bytes], checkpoint: Callable[[], object]) -> bytes:
    """The SHA-256 of all of a file; ``checkpoint`` is called every few milliseconds and may raise to stop."""
    file.seek(0)
    sha = hashlib.sha256()
    while piece := file.read(_READ_BYTES):
        sha.update(piece)
        checkpoint()
    return sha.digest()
