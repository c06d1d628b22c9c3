"""The address that a platform listens at: who can reach it there, whether by TLS, and what to type to do so."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...errors import ConfigurationError

BACKLOG: Final = 2048


@dataclass(frozen=True, slots=True)
class Certificate:
    """
    Two PEM files: the certificate, with those that lead to its authority, and its private key. Raises ``ConfigurationError`` if
    they cannot be read, do not belong together, or the key asks for a password.
    """

    chain: Path
    key: Path

    def __post_init__(self) -> None:
        def no_password() -> str:
            raise ConfigurationError(f"the private key {self.key} has a password: write it to a file without one")

        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.chain, self.key, password=no_password)
        except OSError as error:  # as ssl.SSLError is
            raise ConfigurationError(f"no TLS with certificate {self.chain} and key {self.key}: {error}") from error


def certificate(chain: Path | None, key: Path | None) -> Certificate | None:
    """None where neither file is given. Raises ``ConfigurationError`` for one without the other."""
    if chain is None and key is None:
        return None
    if chain is None or key is None:
        raise ConfigurationError("TLS needs two files, the certificate and its private key, and only one was given")
    return Certificate(chain, key)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 is a free one. Raises ``ConfigurationError``."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address, family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:  # the latter for what can be no name, since a part of it is too long
        raise ConfigurationError(f"cannot listen on {host} port {port}: {error}") from error


def allow_many_connections() -> None:
    """Let this process have as many open files as it may: each connection is one, and the usual 1024 are a thousand streams."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(OSError, ValueError):  # macOS says "no limit" and means another
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def is_public(listener: socket.socket) -> bool:
    """Whether other machines may come there: everywhere but on the loopback alone."""
    address = ipaddress.ip_address(listener.getsockname()[0].partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return not (mapped or address).is_loopback


def url(named: str, listener: socket.socket, *, tls: bool) -> str:
    """
    What to type for a listener that was asked for by this name or address. A wildcard address is reached over the loopback; with
    TLS a name stays as it is, since the certificate is for that.
    """
    address, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - compared, not bound
    if tls and not _is_address(named):
        host = named
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
