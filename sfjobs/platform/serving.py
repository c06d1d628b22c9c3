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
import signal
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
from starlette.types import ASGIApp

from ..errors import ConfigurationError
from .connections import http_protocol
from .runtime import open_platform
from .settings import PlatformSettings, default_data_dir

_BACKLOG = 2048
_KEEP_ALIVE = (
    75  # seconds; longer than clients keep idle connections, so that they close them and no request meets a close
)
_PATIENCE_AT_STOP = 1  # seconds that requests under way are given


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A platform that listens at ``url`` (which is ``host`` and ``port``) and lets ``api_key`` in."""

    url: str
    host: str
    port: int
    data_dir: Path
    workers: int
    api_key: str = field(repr=False)


ServerInfo = Platform


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
    ``settings`` says more than these and replaces all but host and port. Raises ``ConfigurationError`` if the address or the
    data directory cannot be used or is in use.
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
        self._stop: Future[None] = Future()

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
        listener = stack.enter_context(_listen(*self._address))
        thread = threading.Thread(target=self._run, args=(settings, listener), name="sfjobs-platform", daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(self._stop.set_result, None)
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
                runner.run(_serve(settings, listener, on_ready=self._ready.set_result, stop=self._stop))
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
    on_ready: Callable[[ServerInfo], None],
) -> None:
    """
    Serve in the foreground until SIGINT or SIGTERM; jobs that run then are put back into the queue. To be called in the main
    thread, outside any event loop. ``on_ready`` is told where the platform listens once it does. Raises ``ConfigurationError``
    as ``serving`` does.
    """
    settings = PlatformSettings(
        data_dir=default_data_dir() if data_dir is None else Path(data_dir), workers=workers, test_targets=test_targets
    )
    stop: Future[None] = Future()

    async def main(listener: socket.socket) -> None:
        with _signals_set(stop):
            await _serve(settings, listener, on_ready=on_ready, stop=stop)

    with _listen(host, port) as listener, asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main(listener))


async def _serve(
    settings: PlatformSettings,
    listener: socket.socket,
    *,
    on_ready: Callable[[Platform], None],
    stop: Future[None],
) -> None:
    async with open_platform(settings) as runtime:
        host, port = listener.getsockname()[:2]
        platform = Platform(
            url=_url(host, port),
            host=host,
            port=port,
            data_dir=settings.data_dir,
            workers=settings.workers,
            api_key=runtime.api_key,
        )
        server = _Server(runtime.app, on_started=lambda: on_ready(platform), on_stopping=runtime.feed.close)
        stop.add_done_callback(lambda _: server.stop())
        await server.serve(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn, which tells when it listens and when it stops, and leaves the process's signals alone."""

    def __init__(self, app: ASGIApp, *, on_started: Callable[[], None], on_stopping: Callable[[], None]) -> None:
        config = uvicorn.Config(
            app,
            http=http_protocol(),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=_PATIENCE_AT_STOP,
        )
        super().__init__(config)
        self._on_started = on_started
        self._on_stopping = on_stopping

    def stop(self) -> None:
        """From any thread or signal handler."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stopping()
        await super().shutdown(sockets=sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises the signal again when it has stopped, which would end the process before jobs are put back.
        yield


@contextlib.contextmanager
def _signals_set(stop: Future[None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if not stop.done():
            stop.set_result(None)

    def on_plain_signal(*_: object) -> None:
        loop.call_soon_threadsafe(on_signal)

    before = {number: signal.signal(number, on_plain_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # on Windows, and wherever it is not installed
        return None
    return uvloop.new_event_loop


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address, family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host} port {port}: {error}") from error


def _url(host: str, port: int) -> str:
    """What to type: a wildcard address is reached over the loopback."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
