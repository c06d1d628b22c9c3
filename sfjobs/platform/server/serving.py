"""
A platform that listens: ``serving()`` for tests, notebooks and scripts (in a thread of this process, on a free port), and
``run_server`` for the command line (in the foreground, until Ctrl-C or SIGTERM).

    with serving() as platform:            # or: async with serving() as platform
        print(platform.url, platform.api_key)

The server's thread has an event loop of its own, so it does not matter what the caller runs: nothing, asyncio or trio.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import anyio
import anyio.to_thread
import uvicorn

from ..runtime import Runtime, open_platform
from ..settings import PlatformSettings, default_data_dir
from .address import BACKLOG, Certificate, allow_many_connections, certificate, is_public, listen, url
from .http_protocols import http_protocol
from .shutdown import Stop, asked_by_signals

_KEEP_ALIVE = (
    75  # seconds; longer than clients keep idle connections, so that they close them and no request meets a close
)
_PATIENCE_AT_STOP = 1  # seconds that requests under way are given


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """
    A platform that listens at ``url`` (which is ``host`` and ``port``) and lets ``api_key`` in. ``is_public`` is whether other
    machines can reach it.
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
    A platform while the ``with`` block runs. Without ``data_dir`` it forgets everything at the end; without ``port`` it takes a
    free one. ``test_targets`` adds the devices ``never`` and ``always_fails``; ``access_token_lifetime`` is in seconds.
    ``settings`` says more than these and replaces all but host and port. Jobs that run at the end are stopped then and put back
    into the queue. Raises ``ConfigurationError`` if the address or the data directory cannot be used or is in use, or if other
    machines could reach the address and no key was made for them.
    """
    folder = None if data_dir is None else Path(data_dir)

    def settings_in(temporary: Path) -> PlatformSettings:
        return PlatformSettings(
            data_dir=temporary,
            workers=workers,
            test_targets=test_targets,
            access_token_lifetime=access_token_lifetime,
        )

    if settings is None and folder is not None:
        settings = settings_in(folder)
    return Serving(settings or settings_in, host, port)


class Serving:
    """What ``serving`` returns: a context manager, plain or async, that is used once."""

    def __init__(
        self, settings: PlatformSettings | Callable[[Path], PlatformSettings], host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self._settings = settings
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
        if isinstance(self._settings, PlatformSettings):
            settings = self._settings
        else:
            settings = self._settings(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sfjobs-"))))
        listener = stack.enter_context(listen(*self._address))
        thread = threading.Thread(target=self._run, args=(settings, listener), name="sfjobs-platform", daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(self._stop.ask)
        return self._ready.result()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._resources.close()

    async def __aenter__(self) -> Platform:
        # Shielded: a platform that started although nobody waits for it any more would never be stopped.
        with anyio.CancelScope(shield=True):
            platform = await anyio.to_thread.run_sync(self.__enter__)
        return platform  # noqa: RET504 - inside the scope, mypy sees a way around it

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._resources.close)

    def _run(self, settings: PlatformSettings, listener: socket.socket) -> None:
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(
                    _serve(settings, listener, named=self._address[0], on_ready=self._ready.set_result, stop=self._stop)
                )
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
    grace: float = 10.0,
    tls_certificate: Path | None = None,
    tls_key: Path | None = None,
    on_ready: Callable[[Platform], None],
    on_stopping: Callable[[int], None] | None = None,
) -> None:
    """
    Serve in the foreground until SIGINT or SIGTERM. Then no job is taken or started any more, and those that run have ``grace``
    seconds to finish before they are put back into the queue; a second signal ends that at once. To be called in the main
    thread, outside any event loop. ``settings`` replaces ``data_dir``, ``workers`` and ``test_targets``. With the two PEM files
    the platform speaks https. ``on_ready`` is told where the platform listens once it does, ``on_stopping`` how many jobs run
    when it is to stop. Raises ``ConfigurationError`` as ``serving`` does, and if there can be no TLS with these files.
    """
    settings = settings or PlatformSettings(
        data_dir=default_data_dir() if data_dir is None else Path(data_dir), workers=workers, test_targets=test_targets
    )
    tls = certificate(tls_certificate, tls_key)
    stop = Stop()

    async def main(listener: socket.socket) -> None:
        with asked_by_signals(stop):
            await _serve(
                settings,
                listener,
                named=host,
                on_ready=on_ready,
                stop=stop,
                grace=grace,
                tls=tls,
                on_stopping=on_stopping,
            )

    allow_many_connections()
    with listen(host, port) as listener, asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main(listener))


async def _serve(
    settings: PlatformSettings,
    listener: socket.socket,
    *,
    named: str,
    on_ready: Callable[[Platform], None],
    stop: Stop,
    grace: float = 0.0,
    tls: Certificate | None = None,
    on_stopping: Callable[[int], None] | None = None,
) -> None:
    public = is_public(listener)
    async with open_platform(settings, public=public) as runtime:
        host, port = listener.getsockname()[:2]
        platform = Platform(
            url=url(named, listener, tls=tls is not None),
            host=host,
            port=port,
            data_dir=settings.data_dir,
            workers=settings.workers,
            is_public=public,
            api_key=runtime.api_key,
        )
        server = _Server(
            runtime,
            settings,
            tls,
            grace=grace,
            on_started=lambda: on_ready(platform),
            on_stopping=on_stopping or (lambda _: None),
        )
        stop.wanted.add_done_callback(lambda _: server.stop())
        stop.wanted_at_once.add_done_callback(lambda _: server.stop_at_once())
        await server.serve(sockets=[listener])


class _Server(uvicorn.Server):
    """
    uvicorn, which tells when it listens, goes on answering while jobs finish before it stops, and leaves the process's signals
    alone.
    """

    def __init__(
        self,
        runtime: Runtime,
        settings: PlatformSettings,
        tls: Certificate | None,
        *,
        grace: float,
        on_started: Callable[[], None],
        on_stopping: Callable[[int], None],
    ) -> None:
        config = uvicorn.Config(
            runtime.app,
            http=http_protocol(settings.limits.head),
            h11_max_incomplete_event_size=settings.limits.head,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=_PATIENCE_AT_STOP,
            ssl_certfile=None if tls is None else tls.chain,
            ssl_keyfile=None if tls is None else str(tls.key),
        )
        super().__init__(config)
        self._runtime = runtime
        self._grace = grace
        self._draining = anyio.CancelScope()
        self._on_started = on_started
        self._on_stopping = on_stopping

    def stop(self) -> None:
        """From any thread or signal handler."""
        self.should_exit = True

    def stop_at_once(self) -> None:
        """In the event loop."""
        self.should_exit = self.force_exit = True
        self._draining.cancel()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._on_started()

    async def main_loop(self) -> None:
        await super().main_loop()
        scheduler = self._runtime.scheduler
        self._on_stopping(len(scheduler.running))
        self._draining.deadline = anyio.current_time() + self._grace
        with self._draining:
            await scheduler.drain()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._runtime.feed.close()
        await super().shutdown(sockets=sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises the signal again when it has stopped, which would end the process before jobs are put back.
        yield


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # on Windows, and wherever it is not installed
        return None
    return uvloop.new_event_loop
