"""Whether the environment may name a proxy for a URL. If so, ``adapter`` lets httpx choose it."""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies


def may_need_proxy(url: str) -> bool:
    """
    Return False only if httpx would certainly use no proxy, by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY. Rules of NO_PROXY
    other than names and addresses are ignored here: httpx applies them.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in ("localhost", "127.0.0.1", "::1"):
        return False  # a proxy of the environment is not meant for a platform on this machine
    proxies = getproxies()
    if not (proxies.get(parts.scheme) or proxies.get("all")):
        return False
    exempt = {rule.strip().lower() for rule in proxies.get("no", "").split(",")} - {""}
    return exempt.isdisjoint({"*", host}) and not any(host.endswith("." + rule.removeprefix(".")) for rule in exempt)
