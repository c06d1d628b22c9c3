"""
Decide from the headers of a ``GET`` of immutable bytes whether to send all of them, a range, or nothing because the client has
them (RFC 9110, sections 13 and 14). ``file_response`` sends the bytes.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.datastructures import Headers

_RANGE: Final = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE)
_ENTITY_TAG: Final = re.compile(r'(?:W/)?("[^"]*")')


def is_cached(headers: Headers, etag: str) -> bool:
    """Return whether the client has the bytes already: ``If-None-Match`` by weak comparison."""
    tags = ",".join(headers.getlist("if-none-match"))
    return tags.strip() == "*" or etag in _ENTITY_TAG.findall(tags)


def requested_range(headers: Headers, etag: str, size: int) -> range | None:
    """
    Return the requested range of ``size`` bytes, None for all of them. A malformed ``Range``, one with several ranges, and an
    ``If-Range`` that is not exactly ``etag`` all mean the whole. An empty range cannot be
    satisfied: it has none of the bytes.
    """
    condition = headers.getlist("if-range")
    if condition and condition != [etag]:
        return None
    match = _RANGE.fullmatch(",".join(headers.getlist("range")))
    if match is None or not (match[1] or match[2]):
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    elif last and int(last) < int(first):
        return None
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
    return range(start, stop)
