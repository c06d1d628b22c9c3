"""The address that a platform listens at: the socket, the certificate for TLS, and the URL for clients."""

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
    """Two PEM files: the certificate with its chain, and its private key."""

    chain: Path
    key: Path


def certificate(chain: Path | None, key: Path | None) -> Certificate | None:
    """
    Return a certificate that can be used, None without files.

    Raises:
        ConfigurationError: only one file was given, they cannot be read, do not belong together, or the key has a password.
    """
    if chain is None and key is None:
        return None
    if chain is None or key is None:
        raise ConfigurationError("TLS needs two files, the certificate and its private key, and only one was given")

    def no_password() -> str:
        raise ConfigurationError(f"the private key {key} has a password: store it without one")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key, password=no_password)
    except OSError as error:  # also an ssl.SSLError
        raise ConfigurationError(f"no TLS with certificate {chain} and key {key}: {error}") from error
    return Certificate(chain, key)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 is a free one. Raises ``ConfigurationError``."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address, family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:  # the latter for a host name with a part that is too long
        raise ConfigurationError(f"cannot listen on {host} port {port}: {error}") from error


def allow_many_connections() -> None:
    """Raise the limit of open files as far as allowed: each connection is one, and 1024 are usual."""
    if sys.platform != "win32":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(OSError, ValueError):  # macOS reports no limit, but has one
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def is_public(listener: socket.socket) -> bool:
    """Return whether other machines may connect: on all addresses but those of the loopback."""
    address = ipaddress.ip_address(listener.getsockname()[0].partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return not (mapped or address).is_loopback


def url(host: str, listener: socket.socket, *, tls: bool) -> str:
    """
    Return the URL of a listener that was opened for this host. A wildcard address is reached over the loopback. With TLS a host
    name stays as it is, since the certificate is for the name.
    """
    address, port = listener.getsockname()[:2]
    if not tls or _is_address(host):
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - compared, not bound
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
