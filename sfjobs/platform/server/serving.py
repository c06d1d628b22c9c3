"""
Serve a platform over HTTP: ``serving()`` for tests, notebooks and scripts (in a thread of this process, on a free port), and
``run_server`` for the command line (in the foreground, until Ctrl-C or SIGTERM).

    with serving() as platform:            # or: async with serving() as platform
        print(platform.url, platform.api_key)

The thread of the server has an event loop of its own, so the caller may run asyncio, trio or no event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
import uvicorn

from ..runtime import Runtime, open_platform
from ..settings import PlatformSettings, default_data_dir
from .address import BACKLOG, Certificate, allow_many_connections, certificate, is_public, listen, url
from .connections import ConnectionCount, connection_limit
from .http_protocols import http_protocol
from .http_protocols.connection import ConnectionLimits
from .shutdown import Stop, reload_on_hangup, stop_on_signals
from .tls import TLSListener, reload_certificate, server_context

_KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep idle connections, so that the client closes them, and no request meets a connection that closes."""
_STOP_TIMEOUT_SECONDS = 1
"""For unfinished requests when the server stops."""

DEFAULT_GRACE_SECONDS: Final = 7.0
"""With the end of requests and workers less than the 10 s after which ``docker stop`` and its like kill the process."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """
    A platform that listens at ``url``. ``host`` and ``port`` are those of its socket. ``is_public`` says whether other machines
    can reach it.
    """

    url: str
    host: str
    port: int
    data_dir: Path
    workers: int
    is_public: bool = False
    api_key: str = field(repr=False)


def serving(
    *,
    data_dir: Path | str | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    workers: int = 1,
    test_targets: bool = False,
    access_token_lifetime: float = 300.0,
    settings: PlatformSettings | None = None,
) -> Serving:
    """
    Serve a platform while the ``with`` or ``async with`` block runs. At its end, running jobs are stopped and put back into the
    queue.

    ``data_dir`` is a temporary folder by default; port 0 is a free one. ``test_targets`` adds the devices ``never`` and
    ``always_fails``. ``access_token_lifetime`` is in seconds. ``settings`` replaces all parameters but ``host`` and ``port``.

    Raises:
        ConfigurationError: the address or the data directory cannot be used or is in use, no worker can be started, or other
            machines could reach the address and no key was made for them.
    """
    is_temporary = settings is None and data_dir is None
    settings = settings or PlatformSettings(
        data_dir=Path(data_dir or ""),
        workers=workers,
        test_targets=test_targets,
        access_token_lifetime=access_token_lifetime,
    )
    return Serving(settings, host, port, is_temporary=is_temporary)


class Serving:
    """The context manager of ``serving``, plain or async, for one use. A temporary one replaces the data directory."""

    def __init__(self, settings: PlatformSettings, host: str, port: int, *, is_temporary: bool) -> None:
        self._settings = settings
        self._is_temporary = is_temporary
        self._address = (host, port)
        self._resources = contextlib.ExitStack()
        self._ready: Future[Platform] = Future()
        self._stop = Stop()

    def __enter__(self) -> Platform:
        try:
            return self._start(self._resources)
        except BaseException:
            self._resources.close()
            raise

    def _start(self, stack: contextlib.ExitStack) -> Platform:
        settings = self._settings
        if self._is_temporary:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sfjobs-"))
            settings = replace(settings, data_dir=Path(folder))
        listener = stack.enter_context(listen(*self._address))
        thread = threading.Thread(target=self._run, args=(settings, listener), name="sfjobs-platform", daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(self._stop.request)
        return self._ready.result()

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    async def __aenter__(self) -> Platform:
        # Shielded, since a platform that started after a cancellation would never be stopped.
        with anyio.CancelScope(shield=True):
            platform = await anyio.to_thread.run_sync(self.__enter__)
        return platform  # noqa: RET504 - mypy assumes that a scope may suppress exceptions

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._resources.close)

    def _run(self, settings: PlatformSettings, listener: socket.socket) -> None:
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(_serve(settings, listener, self._address[0], self._stop, self._ready.set_result))
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)


def run_server(
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    data_dir: Path | str | None = None,
    workers: int = 1,
    test_targets: bool = False,
    settings: PlatformSettings | None = None,
    grace: float = DEFAULT_GRACE_SECONDS,
    tls_certificate: Path | None = None,
    tls_key: Path | None = None,
    on_ready: Callable[[Platform], None],
    on_stopping: Callable[[int], None] | None = None,
) -> None:
    """
    Serve in the foreground until SIGINT or SIGTERM. Then no more jobs are accepted or started, and running jobs have ``grace``
    seconds to finish before they are put back into the queue. A second signal stops the platform at once. Call this in the main
    thread, outside of any event loop.

    ``settings`` replaces ``data_dir``, ``workers`` and ``test_targets``. With both PEM files the platform serves https, and
    reads them again on SIGHUP.
    ``on_ready`` is called when the platform listens, ``on_stopping`` with the number of running jobs when it begins to stop.

    Raises:
        ConfigurationError: as for ``serving``, or TLS is not possible with these files.
    """
    settings = settings or PlatformSettings(
        data_dir=default_data_dir() if data_dir is None else Path(data_dir), workers=workers, test_targets=test_targets
    )
    tls = certificate(tls_certificate, tls_key)
    stop = Stop()

    async def main(listener: socket.socket) -> None:
        with stop_on_signals(stop):
            await _serve(
                settings,
                listener,
                host,
                stop,
                on_ready,
                grace=grace,
                tls=tls,
                on_stopping=on_stopping,
                reloads=tls is not None,
            )

    allow_many_connections()
    with listen(host, port) as listener, asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main(listener))


async def _serve(
    settings: PlatformSettings,
    listener: socket.socket,
    host: str,
    stop: Stop,
    on_ready: Callable[[Platform], None],
    *,
    grace: float = 0.0,
    tls: Certificate | None = None,
    on_stopping: Callable[[int], None] | None = None,
    reloads: bool = False,
) -> None:
    public = is_public(listener)
    async with open_platform(settings, public=public) as runtime:
        address, port = listener.getsockname()[:2]
        platform = Platform(
            url=url(host, listener, tls=tls is not None),
            host=address,
            port=port,
            data_dir=settings.data_dir,
            workers=settings.workers,
            is_public=public,
            api_key=runtime.api_key,
        )
        server = _Server(runtime, settings, tls, grace, on_started=lambda: on_ready(platform), on_stopping=on_stopping)
        stop.requested.add_done_callback(lambda _: server.stop())
        stop.requested_at_once.add_done_callback(lambda _: server.stop_at_once())
        with reload_on_hangup(server.reload_certificate) if reloads else contextlib.nullcontext():
            await server.serve(sockets=[listener])


class _Server(uvicorn.Server):
    """
    A uvicorn server that calls back when it listens, keeps answering requests while jobs finish, and does not handle signals.
    """

    def __init__(
        self,
        runtime: Runtime,
        settings: PlatformSettings,
        tls: Certificate | None,
        grace: float,
        *,
        on_started: Callable[[], None],
        on_stopping: Callable[[int], None] | None,
    ) -> None:
        config = uvicorn.Config(
            runtime.app,
            http=http_protocol(),
            h11_max_incomplete_event_size=settings.limits.head,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_STOP_TIMEOUT_SECONDS,
        )
        super().__init__(config)
        self._context = None if tls is None else server_context(tls)
        self._connections = ConnectionCount(connection_limit(settings.limits, settings.workers))
        self._accepting: list[asyncio.Task[None]] = []
        self._tls = tls
        self._runtime = runtime
        self._grace = grace
        self._draining = anyio.CancelScope()
        self._on_started = on_started
        self._on_stopping = on_stopping

    def stop(self) -> None:
        """Stop after the grace time. Call this on any thread or in a signal handler."""
        self.should_exit = True

    def stop_at_once(self) -> None:
        """Stop without the grace time. Call this in the event loop."""
        self.should_exit = self.force_exit = True
        self._draining.cancel()

    def reload_certificate(self) -> None:
        """Read the certificate again, if there is one. Call this in the event loop."""
        if self._context is not None and self._tls is not None:
            reload_certificate(self._context, self._tls)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # As uvicorn does, but with connections that are counted, those with TLS before their handshake.
        loop = asyncio.get_running_loop()
        self.servers = []
        for listener in sockets or ():
            if self._context is not None:
                accepting = TLSListener(listener, self._context, self._connections, self._http_protocol)
                self._accepting.append(loop.create_task(accepting.serve()))
            else:
                server = await loop.create_server(self._http_protocol, sock=listener, backlog=self.config.backlog)
                self.servers.append(server)
        self.started = True
        self._on_started()

    def _http_protocol(self, leave: Callable[[], None] | None = None) -> ConnectionLimits:
        protocol: ConnectionLimits = self.config.http_protocol_class(  # type: ignore[call-arg, assignment]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        protocol.count, protocol.leave = self._connections, leave
        return protocol

    async def main_loop(self) -> None:
        await super().main_loop()
        scheduler = self._runtime.scheduler
        self._draining.deadline = anyio.current_time() + self._grace
        if self._on_stopping is not None:
            try:
                self._on_stopping(len(scheduler.running))
            except (
                OSError
            ) as error:  # the reader of the output has ended, or its disk is full: jobs are put back all the same
                _log.error("the stop could not be reported: %s", error)
        with self._draining:
            await scheduler.drain()
        await scheduler.put_back_running()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._runtime.feed.close()
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        await super().shutdown(sockets=sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises the signal again when it has stopped, which would end the process before jobs are put back into the
        # queue.
        yield


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # on Windows, or not installed
        return None
    return uvloop.new_event_loop
