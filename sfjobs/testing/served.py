"""A scripted platform on a socket, in a thread of its own, so that the caller may run asyncio, trio or no event loop."""

from __future__ import annotations

import contextlib
import ssl
import threading
from concurrent.futures import Future
from typing import Generic, TypeVar, cast, overload

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread

from ..errors import ConfigurationError
from .backend import Backend
from .fake_platform import FakePlatform
from .faults import Fault, Faults
from .http_server import HTTPServer, listening
from .scripted_platform import ScriptedPlatform, backend_of

PlatformT = TypeVar("PlatformT", bound=ScriptedPlatform)


@overload
def serving(
    platform: None = None, *, faults: Faults | None = None, latency: float | None = None,
    host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None,
) -> Served[FakePlatform]: ...  # fmt: skip
@overload
def serving(
    platform: PlatformT, *, faults: Faults | None = None, latency: float | None = None,
    host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None,
) -> Served[PlatformT]: ...  # fmt: skip
def serving(
    platform: PlatformT | None = None,
    *,
    faults: Faults | None = None,
    latency: float | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> Served[PlatformT]:
    """
    Serve a scripted platform over HTTP while the ``with`` or ``async with`` block runs, and yield it.

        with serving(faults=Faults(Fault.lost_answer(method="POST"))) as platform:
            print(platform.url, platform.api_key)

    ``platform`` is a new ``FakePlatform`` by default. ``EmbeddedPlatform()`` runs programs, and needs the extra ``platform``.
    ``faults`` and ``latency`` (seconds) replace those of the platform. Port 0 is a free one. With ``tls``, the context of a
    server, the url begins with https. The platform lives in real time, also where it had the time of an event loop before.

    Raises:
        ConfigurationError: the address cannot be used, a fault is possible in memory only, or a package is missing.
    """
    served = cast("PlatformT", FakePlatform()) if platform is None else platform
    return Served(served, faults, latency, (host, port), tls)


class Served(Generic[PlatformT]):
    """The context manager of ``serving``, plain or async, for one use."""

    def __init__(
        self,
        platform: PlatformT,
        faults: Faults | None,
        latency: float | None,
        address: tuple[str, int],
        tls: ssl.SSLContext | None,
    ) -> None:
        self._platform = platform
        self._faults = faults
        self._latency = latency
        self._address = address
        self._tls = tls
        self._resources = contextlib.ExitStack()

    def __enter__(self) -> PlatformT:
        backend = backend_of(self._platform)
        if self._faults is not None:
            backend.faults = self._faults
        if self._latency is not None:
            backend.latency = self._latency
        with contextlib.ExitStack() as stack:
            stack.enter_context(backend.faults.checked_by(self._check))
            stack.enter_context(backend.opened())
            thread = ServerThread(backend, self._address, self._tls)
            stack.callback(thread.stop)
            port = thread.start()
            scheme, host = ("http", self._address[0]) if self._tls is None else ("https", "localhost")
            backend.listen_at(f"{scheme}://{host}:{port}", thread.disconnect)
            stack.callback(backend.leave)
            self._resources = stack.pop_all()
        return self._platform

    def _check(self, fault: Fault) -> None:
        if fault.kind in ("refused", "unresolved") or (fault.kind == "no tls" and self._tls is None):
            raise ConfigurationError(
                f"The fault {fault.kind!r} is not possible over a socket: the server has a connection when it begins to act\n"
                "Use a FakePlatform in memory, Fault.reset('on connect'), or for no_tls the parameter tls."
            )

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    async def __aenter__(self) -> PlatformT:
        # Shielded, since a server that started after a cancellation would never be stopped.
        with anyio.CancelScope(shield=True):
            platform = await anyio.to_thread.run_sync(self.__enter__)
        return platform  # noqa: RET504 - mypy assumes that a scope may suppress exceptions

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._resources.close)


class ServerThread:
    """A server in a daemon thread with an event loop of its own."""

    def __init__(self, backend: Backend, address: tuple[str, int], tls: ssl.SSLContext | None) -> None:
        self._backend = backend
        self._server = HTTPServer(backend, tls)
        self._address = address
        self._ready: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, name="sfjobs-testing", daemon=True)
        self._token: anyio.lowlevel.EventLoopToken | None = None
        self._ended: anyio.Event | None = None

    def start(self) -> int:
        """Start to listen, and return the port. Raises ``ConfigurationError``."""
        self._thread.start()
        try:
            return self._ready.result()
        except OSError as error:
            host, port = self._address
            raise ConfigurationError(f"The address {host}:{port} cannot be used: {error.strerror or error}") from error

    def stop(self) -> None:
        """End all connections and the thread."""
        if self._ended is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                anyio.from_thread.run_sync(self._ended.set, token=self._token)
        self._thread.join()

    def disconnect(self) -> None:
        """Reset all connections."""
        anyio.from_thread.run(self._server.disconnect, token=self._token)

    def _run(self) -> None:
        try:
            anyio.run(self._main)
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _main(self) -> None:
        self._token, self._ended = anyio.lowlevel.current_token(), anyio.Event()
        try:
            async with listening(self._server, *self._address) as port:
                self._ready.set_result(port)
                await self._ended.wait()
        finally:
            await self._backend.release()
