"""Whether a proxy of the environment may stand between here and a url. If so, httpx finds out which; see ``channel``."""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies


def may_need_proxy(url: str) -> bool:
    """
    False only when httpx, which goes by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, would surely use none. Rules of
    NO_PROXY other than names and addresses count as none: httpx, which is asked then, knows them all.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in ("localhost", "127.0.0.1", "::1"):
        return False  # a proxy from the environment is not meant for a platform on this very machine
    proxies = getproxies()
    if not (proxies.get(parts.scheme) or proxies.get("all")):
        return False
    exempt = {rule.strip().lower() for rule in proxies.get("no", "").split(",")} - {""}
    return exempt.isdisjoint({"*", host}) and not any(host.endswith("." + rule.removeprefix(".")) for rule in exempt)
