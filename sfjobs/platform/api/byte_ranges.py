"""
What a ``GET`` asks of bytes that do not change: the whole, a range, or nothing if the client has them (RFC 9110, sections 13
and 14). Headers in, a decision out; who sends the bytes is ``files``.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.datastructures import Headers

_RANGE: Final = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE)
_ENTITY_TAG: Final = re.compile(r'(?:W/)?("[^"]*")')


class UnsatisfiableRangeError(ValueError):
    """A range that has none of the bytes that there are."""


def is_known(headers: Headers, etag: str) -> bool:
    """Whether the client has it already: ``If-None-Match`` by weak comparison."""
    known = ",".join(headers.getlist("if-none-match"))
    return known.strip() == "*" or etag in _ENTITY_TAG.findall(known)


def requested_range(headers: Headers, etag: str, size: int) -> range | None:
    """
    Which of ``size`` bytes are asked for, None for all: also where ``Range`` is malformed or has several ranges, and where
    ``If-Range`` is not this very ``etag``, be it a date, weak, or of other bytes. Raises ``UnsatisfiableRangeError``.
    """
    condition = headers.getlist("if-range")
    if condition and condition != [etag]:
        return None
    asked = _RANGE.fullmatch(",".join(headers.getlist("range")))
    if asked is None or not (asked[1] or asked[2]):
        return None
    first, last = asked.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    elif last and int(last) < int(first):
        return None
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
    if start >= size:
        raise UnsatisfiableRangeError
    return range(start, stop)
