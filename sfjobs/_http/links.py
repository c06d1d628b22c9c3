"""
Where a link of a response leads within the platform, whose url may have a base path. The host of a link is ignored: requests go
to the platform only. Pure; used by ``messages``.
"""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

_PATH = re.compile(r"/[!-~]{0,4000}\Z")


def path_of(link: str, *, url: str, path: str, base_path: str) -> str | None:
    """
    Return path and query of a link, without the base path, None for an invalid link. The response came from ``url``, requested as
    ``path``. A proxy may remove the base path, or put another one in its place, and hand on links as the platform wrote them. The
    link is of the same collection (``/jobs``) as its request, which shows where the base path ends.
    """
    try:
        parts = urlsplit(urljoin(url, link))
    except ValueError:
        return None
    if not link or not _PATH.match(parts.path):
        return None
    found = _within(parts.path, "/" + path.partition("?")[0].split("/")[1], base_path) if base_path else parts.path
    found = f"{found}?{parts.query}" if parts.query else found
    return found if _PATH.match(found) else None


def _within(path: str, collection: str, base_path: str) -> str:
    inner = path.removeprefix(base_path) if path.startswith(f"{base_path}/") else None
    for candidate in (inner, path):
        if candidate is not None and f"{candidate}/".startswith(f"{collection}/"):
            return candidate
    if inner is not None:
        return inner
    before, found, _ = f"{path}/".partition(f"{collection}/")
    return path[len(before) :] if found else path
