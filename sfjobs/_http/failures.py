"""
What fails in the libraries below us, as our errors, without the frames and messages that hold secrets. ``adapter`` uses it around
each call of httpx.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from types import TracebackType
from typing import Protocol

import h11
import httpx

from .._util.aio import most_urgent
from ..config import Settings
from ..errors import ConnectionClosedError, ProtocolError, RequestTimeoutError, SFJobsError, TLSError, TransportError
from .messages import Request
from .trust import lasting_failure


class Adapter(Protocol):
    """What is known of the one who sends."""

    @property
    def settings(self) -> Settings: ...

    @property
    def base_path(self) -> str: ...

    @property
    def is_closed(self) -> bool: ...


_NOT_HTTP = (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL, h11.LocalProtocolError)
"""What is raised for a request that cannot be written, before any of it is sent."""

_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    ConnectionRefusedError,
    socket.gaierror,
    ssl.SSLCertVerificationError,
)
"""What is raised before the platform or the proxy has a connection for the request."""

_LIBRARIES = frozenset({"anyio", "h11", "h2", "hpack", "httpcore", "httpx", "socksio", "ssl", "trio"})


def is_of_the_network(error: BaseException) -> bool:
    """Return whether an exception is of the operating system or of a library below us, whatever its class."""
    if not isinstance(error, Exception):
        return False
    return isinstance(error, OSError | EOFError) or any(
        kind.__module__.partition(".")[0] in _LIBRARIES for kind in type(error).__mro__
    )


class ErrorTranslation:
    """Raises httpx's errors as ours. Frames below ours hold headers with the token, so no traceback keeps them."""

    __slots__ = ("adapter", "request")

    def __init__(self, adapter: Adapter, request: Request) -> None:
        self.adapter = adapter
        self.request = request

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None or isinstance(error, SFJobsError):
            return
        for cause in _causes(error):
            cause.__traceback__ = None
        error = most_urgent(error)
        is_network_error = is_of_the_network(error)
        if self.adapter.is_closed and (is_network_error or isinstance(error, RuntimeError)):
            raise ConnectionClosedError("this connection was closed while a request was in flight") from None
        if is_network_error:
            raise self._translated(error) from error

    def _translated(self, error: BaseException) -> TransportError | ProtocolError:
        request, settings = self.request, self.adapter.settings
        if isinstance(error, _NOT_HTTP):
            return self._unsendable(error)
        sent = not isinstance(error, _NOT_SENT)
        if isinstance(error, httpx.TimeoutException):
            seconds = settings.read_timeout if sent else settings.connect_timeout
            verb = "sent nothing" if sent else "could not be reached"
            return timed_out(settings, request, f"the platform {verb} for {seconds:g} s", sent=sent)
        url = settings.url + request.path
        *_, deepest = map(most_urgent, _causes(error))  # httpx's own messages are often empty, and trio's are of groups
        if remedy := lasting_failure(_causes(error)):
            message = f"{request.method} {url}: the platform could not be reached ({deepest})\n{remedy}"
            return TLSError(message, method=request.method, url=url, sent=False)
        problem = "the connection broke" if sent else "the platform could not be reached"
        return TransportError(
            f"{request.method} {url}: {problem} ({str(deepest) or type(deepest).__name__})",
            method=request.method,
            url=url,
            sent=sent,
        )

    def _unsendable(self, error: BaseException) -> ProtocolError:
        url = self.adapter.settings.url + self.request.path.partition("?")[0]
        message = f"{self.request.method} {url} was not sent, since it is no HTTP request: {error}"
        refused = ProtocolError(message, method=self.request.method, url=url)
        refused.sent, refused.is_lasting = False, True
        return refused


def timed_out(settings: Settings, request: Request, reason: str, *, sent: bool = True) -> RequestTimeoutError:
    """Return the error for a request that took too long."""
    url = settings.url + request.path
    return RequestTimeoutError(f"{request.method} {url}: {reason}", method=request.method, url=url, sent=sent)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and its chain of causes, each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
