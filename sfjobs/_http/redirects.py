"""
Where a redirect leads, and whether it may be followed: to the same host and base path only, and never from TLS to plain HTTP, so
that no token is sent to another party. Pure; ``adapter`` follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urljoin, urlsplit

STATUSES = frozenset({301, 302, 303, 307, 308})

MAX_REDIRECTS = 5

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Destination:
    """The address of a redirect. ``origin`` is its scheme, host and port; ``is_same_platform``: it may get the token."""

    url: str
    origin: str
    is_same_platform: bool


def destination(url: str, location: str | None, base_path: str = "") -> Destination | None:
    """
    Return where the ``Location`` of a response to ``url`` leads, None for a ``Location`` that is not valid. What is not below
    ``base_path`` is another party.
    """
    if not location or not location.isascii() or not location.isprintable():
        return None
    try:
        target = urljoin(url, location.strip()).partition("#")[0]
        before, after = urlsplit(url), urlsplit(target)
        ports = [parts.port or _PORTS.get(parts.scheme) for parts in (before, after)]
    except ValueError:
        return None
    if after.scheme not in _PORTS or not after.hostname:
        return None
    is_upgrade = (before.scheme, after.scheme) == ("http", "https")
    is_same_origin = before.scheme == after.scheme and ports[0] == ports[1]
    is_same = before.hostname == after.hostname and (is_upgrade or is_same_origin) and "@" not in after.netloc
    return Destination(target, origin_of(target), is_same and _is_below(after.path, base_path))


def _is_below(path: str, base_path: str) -> bool:
    if not base_path:
        return True
    return path.startswith(f"{base_path}/") and ".." not in unquote(path).replace("\\", "/").split("/")


def platform_url(to: Destination, request_path: str) -> str:
    """Return the url of the platform to which a request for this path was redirected: what is before the path."""
    before, path, after = urlsplit(to.url).path.rpartition(request_path)
    return to.origin + (before if path and not after else "")


def origin_of(url: str) -> str:
    """Return scheme, host and port of a valid URL, without a port that the scheme implies."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = "" if parts.port in (None, _PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"
