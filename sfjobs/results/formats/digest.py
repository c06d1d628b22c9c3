"""
The SHA-256 of a body, computed in steps that can be interrupted. Called by ``npy`` and ``npz``, and for files by ``cache`` and
``to_file``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import IO

_STEP_BYTES = 8 << 20  # hashed in 4 ms
_READ_BYTES = 1 << 20
# Bytes that will be overwritten are copied up to here, so that an array before them need not be hashed yet.
_MAX_COPIED_BYTES = 1 << 20


class BodyDigest:
    """
    The SHA-256 of the parts of a body, added in order.

    A digest is needed only for a body that was resumed, and costs three times as much as a CRC-32. So bytes that lie in arrays
    are hashed only when ``digest`` is called.
    """

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self._deferred: list[bytes | memoryview] = []
        self._copied = 0

    def defer(self, part: bytes | memoryview) -> None:
        """Add bytes that do not change before ``digest`` is called."""
        self._deferred.append(part)

    def update(self, part: memoryview) -> None:
        """Add bytes that will be overwritten."""
        if not self._deferred:
            self._sha.update(part)
            return
        self._deferred.append(bytes(part))
        self._copied += len(part)
        if self._copied > _MAX_COPIED_BYTES:
            self._hash_deferred(lambda: None)

    def digest(self, checkpoint: Callable[[], None] = lambda: None) -> bytes:
        """Return the SHA-256 so far, in 0.5 s for each GB. ``checkpoint`` is called every few milliseconds and may raise."""
        self._hash_deferred(checkpoint)
        return self._sha.digest()

    def _hash_deferred(self, checkpoint: Callable[[], None]) -> None:
        for part in self._deferred:
            view = memoryview(part)
            for start in range(0, len(view), _STEP_BYTES):
                self._sha.update(view[start : start + _STEP_BYTES])
                checkpoint()
        self._deferred.clear()
        self._copied = 0


def file_digest(file: IO[bytes], checkpoint: Callable[[], object]) -> bytes:
    """Return the SHA-256 of a whole file. ``checkpoint`` is called every few milliseconds and may raise."""
    file.seek(0)
    sha = hashlib.sha256()
    while piece := file.read(_READ_BYTES):
        sha.update(piece)
        checkpoint()
    return sha.digest()
