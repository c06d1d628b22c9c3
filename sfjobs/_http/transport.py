"""
Every request of the client: a connection slot, a permit of the rate limiter, a token, a timeout and the safe retries. The
``adapter`` of the request's lane sends it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, TypeVar

import anyio
import anyio.lowlevel

from .._util.kernel_interrupts import wake_on_interrupt
from ..config import Secret, Settings
from ..errors import (
    ConnectionClosedError,
    ProtocolError,
    RateLimitedError,
    RequestFailedError,
    RequestTimeoutError,
    ResponseError,
    TransportError,
)
from . import tracing
from .adapter import HTTPAdapter, HTTPTransport, StreamingResponse
from .auth import Token, TokenSource, read_token, token_request
from .clock import PlatformClock
from .download import Download, Downloading
from .failures import timed_out
from .messages import Lane, Request, Response
from .odd_fields import OddFields
from .rate_limiter import Permit, RateLimit, RateLimiter
from .retry import Retry, RetryBudget, may_retry

__all__ = ["MAX_CONNECTIONS", "HTTPTransport", "Transport"]

logger = logging.getLogger("sfjobs")

T = TypeVar("T")

# No queue for connections lies further down: httpcore loses a slot of its pool when a request that waits there is cancelled
# (encode/httpcore#1093), and our own connections have no queue. So each lane has a limiter as wide as its connections.
MAX_CONNECTIONS: Final[Mapping[Lane, int]] = {"poll": 4, "query": 16, "bulk": 32, "stream": 32}

_POOLS: Final[Mapping[Lane, tuple[Lane, ...]]] = {
    lane: lanes for lanes in (("poll", "query"), ("bulk", "stream")) for lane in lanes
}
"""The lanes whose idle connections are shared with a lane."""

Attempt: TypeAlias = Callable[[Secret | None, int], Awaitable[tuple[Response, Secret]]]
"""Sends the request once, with a token that is not this one, and returns that too. The attempts count from 1."""

Consumer: TypeAlias = Callable[[Response, Download], Awaitable[T]]


class Transport:
    """The HTTP side of one connection: lanes with their adapters, and one token for all. Belongs to one event loop."""

    def __init__(self, settings: Settings, *, transport: HTTPTransport | None = None) -> None:
        self.odd_fields = OddFields(lambda: self.secrets)
        self._settings = settings
        self._given_transport = transport
        self._retry = Retry(attempts=settings.retries)
        self._budget = RetryBudget()
        self._adapters: dict[tuple[Lane, ...], HTTPAdapter] = {}
        self._slots = {lane: anyio.CapacityLimiter(width) for lane, width in MAX_CONNECTIONS.items()}
        self._stream_waits: set[anyio.CancelScope] = set()
        self._rate_limiter = RateLimiter()
        self.clock = PlatformClock()
        self._tokens = TokenSource(self._fetch_token, initial=settings.access_token)
        self._owner: tuple[object, int] | None = None
        self._closed = False

    async def aclose(self) -> None:
        """Close every connection. Requests in flight fail with ConnectionClosedError. Idempotent."""
        self._closed = True
        with anyio.CancelScope(shield=True):
            while self._adapters:
                await self._adapters.popitem()[1].aclose()

    @property
    def is_open(self) -> bool:
        """Whether this process has connections that ``aclose`` would close."""
        return bool(self._adapters) and self._owner is not None and self._owner[1] == os.getpid()

    def check_usable(self) -> None:
        """Raise ConnectionClosedError if closed, in a forked child, or in another event loop than at first use."""
        if self._closed:
            raise ConnectionClosedError("this connection is closed")
        here = (anyio.lowlevel.current_token(), os.getpid())
        if self._owner is None:
            self._owner = here
            wake_on_interrupt()
        elif self._owner[1] != here[1]:
            raise ConnectionClosedError("this connection belongs to the parent process: open a new one after a fork")
        elif self._owner[0] != here[0]:
            raise ConnectionClosedError("this connection belongs to another event loop: open one in each loop")

    @property
    def secrets(self) -> list[Secret]:
        """The secrets that are sent at present, which errors and logs do not show."""
        settings = self._settings
        return [secret for secret in (settings.api_key, settings.access_token, self._tokens.current) if secret]

    @property
    def rate_limit(self) -> RateLimit:
        return self._rate_limiter.current_limit()

    async def send(self, request: Request) -> Response:
        """
        Return the whole response, after the retries that are safe and fit before the caller's deadline. Raises RequestFailedError
        or a subclass, ConnectionClosedError.
        """
        return await self._with_retries(request, partial(self._exchange, request))

    async def receive(self, request: Request, consume: Consumer[T]) -> T:
        """
        Return what ``consume`` makes of a streamed response, from its head and its ``Download``. A download that breaks off and
        cannot be resumed starts again with a new call of ``consume``. Raises what ``send`` and ``consume`` do.
        """
        attempts = starts = 0
        while True:
            async with self.download(request, attempts=attempts) as download:
                try:
                    return await consume(download.response, download)
                except TransportError as error:
                    starts += 1
                    # A resumed download counts its attempts from 1 again. ``starts`` bounds the loop.
                    attempts = max(starts, error.attempts)
                    pause = self._pause_after(request, error, attempts)
                    if pause is None:
                        raise
            await anyio.sleep(pause)

    def download(self, request: Request, *, attempts: int = 0) -> Downloading:
        """
        Return a context manager that opens the body as a ``Download``, after ``attempts`` failed attempts. It holds a slot of its
        lane while it has a connection. Its speed is bounded from below, not its duration.
        """

        async def begin() -> Download:
            first = await self._open(request, attempts=attempts)
            return Download(first, resume, timeout=self._settings.attempt_timeout)

        async def resume(
            headers: Mapping[str, str], failure: TransportError, attempts: int
        ) -> StreamingResponse | None:
            pause = self._pause_after(request, failure, attempts)
            if pause is None:
                return None
            await anyio.sleep(pause)
            rest = replace(request, headers={**request.headers, **headers}, expect=frozenset({200, 206}))
            return await self._open(rest, attempts=attempts)

        return Downloading(begin)

    async def _acquire_slot(self, lane: Lane, slot: object, request: Request) -> None:
        """
        Wait for a connection. The callers of streams hold theirs for as long as they like, perhaps while they wait for another
        stream, so that wait has a limit: no stream was closed for ``attempt_timeout``.
        """
        if lane != "stream":
            await self._slots[lane].acquire_on_behalf_of(slot)
            return
        timeout = self._settings.attempt_timeout
        with anyio.move_on_after(timeout) as wait:
            self._stream_waits.add(wait)
            try:
                await self._slots[lane].acquire_on_behalf_of(slot)
            finally:
                self._stream_waits.discard(wait)
            return
        url, most = self._settings.url + request.path, MAX_CONNECTIONS[lane]
        raise RequestTimeoutError(
            f"{request.method} {url} was not sent: {most} results are open on this connection, which is the most, and none was"
            f" closed for {timeout:g} s. Leave their 'async with' blocks first",
            method=request.method,
            url=url,
            attempts=0,
            sent=False,
        )

    def _free_slot(self, lane: Lane, slot: object) -> None:
        self._slots[lane].release_on_behalf_of(slot)
        if lane == "stream" and self._stream_waits:
            deadline = anyio.current_time() + self._settings.attempt_timeout
            for wait in self._stream_waits:
                wait.deadline = deadline

    async def open(self, request: Request) -> StreamingResponse:
        """
        Return a response whose body the caller reads, without a read timeout. It holds a slot of its lane until it is closed.
        """
        return await self._open(request, has_timeout=False)

    async def _open(self, request: Request, *, attempts: int = 0, has_timeout: bool = True) -> StreamingResponse:
        lane, slot = request.lane, object()
        free_slot = partial(self._free_slot, lane, slot)
        opened: list[StreamingResponse] = []

        async def send_once(rejected: Secret | None, attempt: int) -> tuple[Response, Secret]:
            await self._acquire_slot(lane, slot, request)
            async with AsyncExitStack() as held:
                held.callback(free_slot)
                permit = await held.enter_async_context(self._rate_limiter.permit(lane))
                token = await self._tokens.get(rejected=rejected)
                with _Logged(request, attempt) as line:
                    adapter = self._adapter(lane)
                    streaming = await self._in_time(request, adapter.start(request, token, has_timeout=has_timeout))
                    line.status = streaming.status_code
                held.push_async_callback(streaming.aclose)
                if not 200 <= streaming.status_code < 300:
                    response = self.clock.dated(await self._in_time(request, streaming.read_whole()))
                    permit.observe(response)
                    return response, token
                permit.observe(self.clock.dated(streaming.response))
                streaming.response.check_status()
                streaming.response.reject_html()
                held.pop_all()
            streaming.attempts, streaming.on_close = attempt, free_slot
            opened.append(streaming)
            return streaming.response, token

        await self._with_retries(request, send_once, attempts)
        return opened[0]

    async def _with_retries(self, request: Request, send_once: Attempt, attempts: int = 0) -> Response:
        self.check_usable()
        self._check_pause_ends_in_time(request)
        earlier = max(attempts - 1, 0)  # the budget has already paid for these
        while True:
            attempts += 1
            tracing.note_attempt(attempts)
            try:
                response = await self._authorised(send_once, attempts)
            except (TransportError, ResponseError, ProtocolError) as error:
                pause = self._pause_after(request, error, attempts)
                if pause is None:
                    raise
            else:
                self._budget.earn(attempts - earlier)
                return response
            request.note_in_flight(False)
            await anyio.sleep(pause)
            self.check_usable()

    def _check_pause_ends_in_time(self, request: Request) -> None:
        """Only for single calls: polls have an interval, and the steps of a submission stream resume later."""
        until = self.rate_limit.paused_until
        if until is None or until < anyio.current_effective_deadline() or request.attempts or request.shield:
            return
        left, url = until - anyio.current_time(), self._settings.url + request.path
        message = f"{request.method} {url} was not sent: the platform accepts no requests for another {left:.0f} s"
        error = RateLimitedError(message, method=request.method, url=url, attempts=0, status_code=429, retry_after=left)
        error.sent = False
        raise error

    def _pause_after(self, request: Request, error: RequestFailedError, attempts: int) -> float | None:
        """Return the seconds from this failure to the next attempt, or None for no further attempt."""
        if not error.attempts:  # it failed before the first attempt
            return None
        error.attempts = attempts
        if not may_retry(error, idempotent=request.idempotent):
            return None
        if request.attempts is not None and attempts >= request.attempts:
            return None
        if request.shield is not None and isinstance(error, RateLimitedError) and error.is_quota:
            return None  # a stream of submissions goes on when one of its jobs has ended, which may be sooner
        pause = self._retry.pause(attempts, error.retry_after if isinstance(error, ResponseError) else None)
        if pause is None:
            return None
        start = anyio.current_time() + pause
        if isinstance(error, RateLimitedError) and not error.is_quota:
            pause, start = 0.0, self._rate_limiter.earliest_start(request.lane)  # the rate limiter waits instead
        # A pause beyond the caller's deadline would hide the real reason.
        if start >= anyio.current_effective_deadline():
            return None
        # The rate limiter bounds the requests after a 429.
        if not isinstance(error, RateLimitedError) and not self._budget.spend():
            logger.info("no retry, since most requests of this connection fail: %s", error)
            return None
        waits = {"wait_seconds": start - anyio.current_time(), "wait_reason": error.message}  # for the command line
        extra = waits if isinstance(error, RateLimitedError) else None
        logger.info("attempt %d failed, another follows in %.1f s: %s", attempts, pause, error, extra=extra)
        return pause

    async def _authorised(self, send_once: Attempt, attempt: int) -> Response:
        """
        Send once, and again with a new token after a 401. A token is fetched before the wait for a connection and a permit, so
        that few hold theirs meanwhile, and after it if it has expired during the wait.
        """
        await self._tokens.get()
        response, token = await send_once(None, attempt)
        if response.status_code == 401:
            await self._tokens.get(rejected=token)
            response, _ = await send_once(token, attempt)
        response.check_status()
        return response

    async def _fetch_token(self) -> Token:
        """Needs neither a slot, because it runs once at a time, nor a turn: requests that have both may wait for it."""
        try:
            request = token_request(self._settings)
            async with self._rate_limiter.token_permit() as permit:
                response = await self._send_once(request, None, 1, permit)
            return read_token(self._settings, response)
        except RequestFailedError as error:
            error.sent = False  # the request that needed the token was not sent
            raise

    async def _exchange(self, request: Request, rejected: Secret | None, attempt: int) -> tuple[Response, Secret]:
        async with self._slots[request.lane], self._rate_limiter.permit(request.lane) as permit:
            token = await self._tokens.get(rejected=rejected)
            return await self._send_once(request, token, attempt, permit), token

    async def _send_once(self, request: Request, token: Secret | None, attempt: int, permit: Permit) -> Response:
        adapter = self._adapter(request.lane)  # a setting that it cannot use is found before anything is sent
        request.note_in_flight(True)
        response = self.clock.dated(
            await self._in_time(request, self._whole_response(adapter, request, token, attempt))
        )
        permit.observe(response)
        return response

    async def _whole_response(
        self, adapter: HTTPAdapter, request: Request, token: Secret | None, attempt: int
    ) -> Response:
        with _Logged(request, attempt) as line:
            streaming = await adapter.start(request, token)
            line.status = streaming.status_code
            try:
                return await streaming.read_whole()
            finally:
                await streaming.aclose()

    def _adapter(self, lane: Lane) -> HTTPAdapter:
        if self._closed:
            raise ConnectionClosedError("this connection is closed")
        pool = _POOLS[lane]
        if pool not in self._adapters:
            width = sum(MAX_CONNECTIONS[member] for member in pool) + 1  # one for the token
            self._adapters[pool] = HTTPAdapter(self._settings, width, self._given_transport)
        return self._adapters[pool]

    async def _in_time(self, request: Request, work: Coroutine[Any, Any, T]) -> T:
        """Bound one attempt as a whole. The read timeout starts again with every byte."""
        with anyio.move_on_after(self._settings.attempt_timeout):
            return await work
        reason = f"no complete response arrived within {self._settings.attempt_timeout:g} s"
        raise timed_out(self._settings, request, reason)


class _Logged:
    """One log line for each attempt, with or without a response. Without the query, which may hold a hundred ids."""

    __slots__ = ("_attempt", "_request", "_started", "status")

    def __init__(self, request: Request, attempt: int) -> None:
        self._request = request
        self._attempt = attempt
        self.status: int | None = None

    def __enter__(self) -> Self:
        self._started = anyio.current_time() if logger.isEnabledFor(logging.DEBUG) else None
        return self

    def __exit__(self, kind: object, error: object, trace: TracebackType | None) -> None:
        if self._started is None:
            return
        logger.debug(
            "%s %s %s %.0f ms, attempt %d",
            self._request.method,
            self._request.path.partition("?")[0],
            self.status or "no response",
            1e3 * (anyio.current_time() - self._started),
            self._attempt,
        )
