"""
The proxy that the environment names for a URL, by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY as httpx reads them. Only the
variables that matter for this URL are read: another one that cannot be used does no harm. ``adapter`` makes the proxy.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies

from ..config import Secret
from ..errors import ConfigurationError

SCHEMES = ("http", "https", "socks5", "socks5h")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class EnvironmentProxy:
    """A proxy, and the name of the variable that it comes from. Its address may hold a password, so it is never shown."""

    variable: str
    address: Secret = field(repr=False)

    @property
    def host(self) -> str:
        """The host of an address that can be used."""
        return urlsplit(self.address.reveal()).hostname or ""

    def checked_address(self) -> Secret:
        """Return the address if it can be used. Raises ConfigurationError."""
        parts, has_host = None, False
        with suppress(ValueError):  # its message would quote a part of the address
            parts = urlsplit(self.address.reveal())
            has_host = bool(parts.hostname) and parts.port != 0
        if parts is None:
            raise self.unusable(_NO_URL)
        if parts.scheme.lower() not in SCHEMES:
            raise self.unusable(f"its scheme is none of {', '.join(SCHEMES)}")
        # A `/` in the password would end the host there, and the rest of the password would be looked up as a port.
        if not has_host or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise self.unusable(_NO_URL)
        return self.address

    def unusable(self, reason: str, remedy: str = "") -> ConfigurationError:
        """Return the error for a proxy that cannot be used."""
        remedy = remedy or "Correct it, or unset it; NO_PROXY lists hosts that need no proxy."
        return ConfigurationError(f"The proxy of {self.variable} cannot be used: {reason}\n{remedy}")


_NO_URL = (
    "it is not a URL with a host and a port up to 65535; in a password, write / as %2F, @ as %40, # as %23 and ? as %3F"
)


def proxy_for(url: str) -> EnvironmentProxy | None:
    """Return the proxy for a platform, None where it is reached directly."""
    if not may_need_proxy(url):
        return None
    parts, proxies = urlsplit(url), getproxies()
    if any(_exempts(rule.strip().lower(), parts) for rule in proxies.get("no", "").split(",")):
        return None
    kind = parts.scheme if proxies.get(parts.scheme) else "all"
    address = Secret(proxies[kind] if "://" in proxies[kind] else f"http://{proxies[kind]}")
    return EnvironmentProxy(_variable(kind), address)


def may_need_proxy(url: str) -> bool:
    """
    Return False only if httpx would certainly use no proxy, by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY. Rules of NO_PROXY
    other than names and addresses are ignored here.
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


def _exempts(rule: str, parts: SplitResult) -> bool:
    """Return whether a rule of NO_PROXY with a scheme, a port, brackets or a range of addresses is about a URL."""
    scheme, separator, rest = rule.rpartition("://")
    if not rest or (separator and scheme not in ("all", parts.scheme)):
        return False
    host = parts.hostname or ""
    try:
        return ip_address(host) in ip_network(rest.strip("[]"), strict=False)
    except ValueError:
        pass  # one of them is a name, or the rule has a port
    name, colon, port = rest.rpartition(":")
    if colon and port.isdecimal():
        if int(port[:6]) != (parts.port or _DEFAULT_PORTS.get(parts.scheme)):
            return False
        rest = name
    rest = rest.strip("[]").removeprefix("*").removeprefix(".")
    return bool(rest) and (host == rest or host.endswith(f".{rest}"))


def _variable(kind: str) -> str:
    """Return the name of the variable that has the proxy of this kind, as it is written in the environment."""
    name = f"{kind}_proxy"
    found = [variable for variable in (name, name.upper()) if os.environ.get(variable)]
    return found[0] if found else f"the system's settings ({name})"
