"""
One request, sent politely: a connection slot, a token, a deadline and the retries that are safe. All that the client sends goes
through here, and then through the ``channel`` of its lane.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

import anyio
import anyio.lowlevel

from ..config import Secret, Settings
from ..errors import (
    ConnectionClosedError,
    ProtocolError,
    RateLimitedError,
    RequestFailedError,
    ResponseError,
    TransportError,
)
from . import tracing
from .adapter import HTTPAdapter, HTTPTransport, StreamingResponse, timed_out
from .auth import Token, TokenSource, read_token, token_request
from .download import Download, Downloading
from .messages import Lane, Request, Response
from .rate_limiter import RateLimit, RateLimiter
from .retry import Retry, RetryBudget, may_repeat

__all__ = ["CONNECTIONS", "HTTPTransport", "Transport"]

logger = logging.getLogger("sfjobs")

T = TypeVar("T")

# Nothing waits for a connection further down: httpcore loses a slot of its pool when a request that waits there is cancelled
# (encode/httpcore#1093), and our own connections have no queue. So a limiter as wide as the lane stands before each.
CONNECTIONS: Mapping[Lane, int] = {"poll": 4, "bulk": 32}

Attempt: TypeAlias = Callable[[Secret, int], Awaitable[Response]]
"""One try with this token, the how-manyth it is."""

Consumer: TypeAlias = Callable[[Response, Download], Awaitable[T]]


class Transport:
    """The HTTP side of one connection: two lanes, each with its channel, and one token for both. Belongs to one event loop."""

    def __init__(self, settings: Settings, *, transport: HTTPTransport | None = None) -> None:
        self._settings = settings
        self._given = transport
        self._retry = Retry(attempts=settings.retries)
        self._budget = RetryBudget()
        self._channels: dict[Lane, HTTPAdapter] = {}
        self._limiters = {lane: anyio.CapacityLimiter(width) for lane, width in CONNECTIONS.items()}
        self._governor = RateLimiter()
        self._tokens = TokenSource(self._fetch_token, initial=settings.access_token)
        self._owner: tuple[object, int] | None = None
        self._closed = False

    async def aclose(self) -> None:
        """Ends every connection. Requests still under way fail with ConnectionClosedError. Safe to call twice."""
        self._closed = True
        with anyio.CancelScope(shield=True):
            while self._channels:
                await self._channels.popitem()[1].aclose()

    @property
    def is_open(self) -> bool:
        """Whether there are connections of this process that ``aclose`` would end."""
        return bool(self._channels) and self._owner is not None and self._owner[1] == os.getpid()

    def check_usable(self) -> None:
        """Raises ConnectionClosedError once closed, in a forked child, or in another event loop than at first use."""
        if self._closed:
            raise ConnectionClosedError("this connection is closed")
        here = (anyio.lowlevel.current_token(), os.getpid())
        if self._owner is None:
            self._owner = here
        elif self._owner[1] != here[1]:
            raise ConnectionClosedError("this connection belongs to the parent process: open a new one after a fork")
        elif self._owner[0] != here[0]:
            raise ConnectionClosedError("this connection belongs to another event loop: open one in each loop")

    @property
    def pace(self) -> RateLimit:
        """What holds requests back now, besides their own failures."""
        return self._governor.outlook()

    async def send(self, request: Request) -> Response:
        """
        The whole answer, after as many tries as are safe and fit before the caller's own deadline. Raises
        RequestFailedError or one of its kinds, ConnectionClosedError.
        """

        async def attempt(token: Secret, number: int) -> Response:
            return await self._exchange(request, token, number)

        return await self._persist(request, attempt)

    async def receive(self, request: Request, consume: Consumer[T]) -> T:
        """
        What ``consume`` makes of a streamed answer: its head, and its body as a ``Download``. One that broke off and cannot be
        gone on with is started again, with a new call of ``consume``. Raises what ``send`` and ``consume`` do.
        """
        tries = starts = 0
        while True:
            async with self.download(request, tries=tries) as download:
                try:
                    return await consume(download.answer, download)
                except TransportError as error:
                    starts += 1
                    # A download that went on has begun to count anew, which must not be had without end.
                    tries = max(starts, error.attempts)
                    pause = self._respite(request, error, tries)
                    if pause is None:
                        raise
            await anyio.sleep(pause)

    def download(self, request: Request, *, tries: int = 0) -> Downloading:
        """
        ``async with`` the body of the answer as a ``Download``, which begins after so many ``tries`` that failed. Holds a slot
        of its lane while there is a connection, and is bounded by its pace, not by its length.
        """

        async def begin() -> Download:
            return Download(await self._opened(request, tries=tries), go_on, patience=self._settings.attempt_timeout)

        async def go_on(headers: Mapping[str, str], failure: TransportError, tries: int) -> OpenResponse | None:
            pause = self._respite(request, failure, tries)
            if pause is None:
                return None
            await anyio.sleep(pause)
            rest = replace(request, headers={**request.headers, **headers}, expect=frozenset({200, 206}))
            return await self._opened(rest, tries=tries)

        return Downloading(begin)

    async def open(self, request: Request) -> OpenResponse:
        """
        An answer that is read bit by bit, for as long as whoever asked for it likes: nothing bounds its silence here. It holds a
        slot of its lane until it is closed.
        """
        return await self._opened(request, endless=True)

    async def _opened(self, request: Request, *, tries: int = 0, endless: bool = False) -> OpenResponse:
        opened = OpenResponse(self._limiters[request.lane])

        async def attempt(token: Secret, number: int) -> Response:
            await opened.take_slot()
            async with AsyncExitStack() as held:
                held.push_async_callback(opened.aclose)
                turn = await held.enter_async_context(self._governor.turn(request.lane))
                with _Logged(request, number) as line:
                    channel = self._channel(request.lane)
                    incoming = await self._in_time(request, channel.start(request, token, endless=endless))
                    line.status = incoming.status_code
                opened.hold(incoming, number)
                if not 200 <= incoming.status_code < 300:
                    answer = await self._in_time(request, incoming.read_whole())
                    turn.observe(answer)
                    return answer
                answer = opened.answer
                turn.observe(answer)
                answer.check_status()
                answer.refuse_page()
                held.pop_all()
            return opened.answer

        await self._persist(request, attempt, tries)
        return opened

    async def _persist(self, request: Request, attempt: Attempt, tries: int = 0) -> Response:
        self.check_usable()
        self._check_there_is_time(request)
        first = max(tries - 1, 0)  # the pause before the first try here was another's
        while True:
            tries += 1
            tracing.note_attempt(tries)
            try:
                answer = await self._authorised(attempt, tries)
            except (TransportError, ResponseError, ProtocolError) as error:
                pause = self._respite(request, error, tries)
                if pause is None:
                    raise
            else:
                self._budget.earn(tries - first)
                return answer
            request.shield_off()
            await anyio.sleep(pause)
            self.check_usable()

    def _respite(self, request: Request, error: RequestFailedError, tries: int) -> float | None:
        """Seconds from this failure to the next try, or None when there is none."""
        error.attempts = tries
        pause = self._pause(request, error, tries)
        if pause is not None:
            logger.info("attempt %d failed, another follows in %.1f s: %s", tries, pause, error)
        return pause

    def _check_there_is_time(self, request: Request) -> None:
        """For calls: polls have a interval, and the steps of a stream go on where they were."""
        until = self.pace.paused_until
        if until is None or until < anyio.current_effective_deadline() or request.attempts or request.shield:
            return
        left, url = until - anyio.current_time(), self._settings.url + request.path
        message = f"{request.method} {url} was not sent: the platform takes no requests for another {left:.0f} s"
        error = RateLimitedError(message, method=request.method, url=url, attempts=0, status_code=429, retry_after=left)
        error.sent = False
        raise error

    def _pause(self, request: Request, error: RequestFailedError, tries: int) -> float | None:
        if not may_repeat(error, idempotent=request.idempotent):
            return None
        if request.attempts is not None and tries >= request.attempts:
            return None
        pause = self._retry.pause(tries, error.retry_after if isinstance(error, ResponseError) else None)
        if pause is None:
            return None
        start = anyio.current_time() + pause
        if isinstance(error, RateLimitedError) and not error.is_quota:
            pause, start = 0.0, self._governor.due(request.lane)  # everyone waits there, and so does this one
        # Sleeping into the caller's own deadline would only hide the real reason.
        if start >= anyio.current_effective_deadline():
            return None
        return pause if self._may_go_on(error) else None

    def _may_go_on(self, error: RequestFailedError) -> bool:
        # What is too much for the platform the governor sees to.
        if isinstance(error, RateLimitedError) or self._budget.spend():
            return True
        logger.info("most requests of this connection fail lately, so this one is not repeated: %s", error)
        return False

    async def _authorised(self, attempt: Attempt, number: int) -> Response:
        """One try, and a second one with a fresh token after a 401. No slot is held while a token is fetched."""
        token = await self._tokens.get()
        answer = await attempt(token, number)
        if answer.status_code == 401:
            answer = await attempt(await self._tokens.get(rejected=token), number)
        answer.check_status()
        return answer

    async def _fetch_token(self) -> Token:
        try:
            return read_token(self._settings, await self._exchange(token_request(self._settings), None, 1))
        except RequestFailedError as error:
            error.sent = False  # of the request that wanted the token, nothing has been sent
            raise

    async def _exchange(self, request: Request, token: Secret | None, number: int) -> Response:
        async with self._limiters[request.lane], self._governor.turn(request.lane) as turn:
            request.shield_on()
            answer = await self._in_time(request, self._answered(request, token, number))
            turn.observe(answer)
            return answer

    async def _answered(self, request: Request, token: Secret | None, number: int) -> Response:
        with _Logged(request, number) as line:
            incoming = await self._channel(request.lane).start(request, token)
            line.status = incoming.status_code
            try:
                return await incoming.read_whole()
            finally:
                await incoming.aclose()

    def _channel(self, lane: Lane) -> HTTPAdapter:
        if self._closed:
            raise ConnectionClosedError("this connection is closed")
        if lane not in self._channels:
            self._channels[lane] = HTTPAdapter(self._settings, CONNECTIONS[lane], self._given)
        return self._channels[lane]

    async def _in_time(self, request: Request, work: Coroutine[Any, Any, T]) -> T:
        """Bounds one try as a whole: silence on the wire is measured anew with every byte."""
        with anyio.move_on_after(self._settings.attempt_timeout):
            return await work
        reason = f"no whole answer came in {self._settings.attempt_timeout:g} s"
        raise timed_out(self._settings, request, reason)


class OpenResponse:
    """An answer while it is being read, and its slot. Where it ``is_resumable``, a cancelled ``read`` has lost nothing."""

    answer: Response

    def __init__(self, limiter: anyio.CapacityLimiter) -> None:
        self._limiter = limiter
        self._has_slot = False
        self._incoming: StreamingResponse | None = None
        self.tries = 0
        """How many it took to come by it."""

    @property
    def is_resumable(self) -> bool:
        return self._incoming is not None and self._incoming.is_resumable

    @property
    def secrets(self) -> Sequence[Secret]:
        """What the platform has been sent to let it have, and should not repeat."""
        return () if self._incoming is None else self._incoming.secrets

    async def take_slot(self) -> None:
        await self._limiter.acquire_on_behalf_of(self)
        self._has_slot = True

    def hold(self, incoming: StreamingResponse, tries: int) -> None:
        self._incoming, self.answer, self.tries = incoming, incoming.answer(), tries

    async def read(self) -> bytes:
        """What comes next; nothing at the end. Raises TransportError, ConnectionClosedError."""
        return b"" if self._incoming is None else await self._incoming.read()

    async def read_into(self, room: memoryview) -> int:
        """As ``read``, into some of ``room``; says how much."""
        return 0 if self._incoming is None else await self._incoming.read_into(room)

    async def aclose(self) -> None:
        """Ends the connection. Safe to call twice."""
        incoming, self._incoming = self._incoming, None
        if self._has_slot:
            self._has_slot = False
            self._limiter.release_on_behalf_of(self)
        if incoming is not None:
            await incoming.aclose()


class _Logged:
    """One line for each request, whether or not it was answered. A query may hold a hundred ids and is not in it."""

    __slots__ = ("_number", "_request", "_started", "status")

    def __init__(self, request: Request, number: int) -> None:
        self._request = request
        self._number = number
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
            self.status or "no answer",
            1e3 * (anyio.current_time() - self._started),
            self._number,
        )
