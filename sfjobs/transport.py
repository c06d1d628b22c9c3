"""
One request, sent politely: a connection slot, a token, a deadline, the retries that are safe, and every failure as one of our
own errors. All that the client sends goes through here, and no other file of the client knows httpx.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import TypeAlias, TypeVar, cast
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
import httpx

from . import __version__, tracing
from .auth import Token, Tokens, read_token, token_request
from .config import Secret, Settings
from .errors import (
    ConnectionClosedError,
    ProtocolError,
    RateLimitedError,
    RequestFailedError,
    RequestTimeoutError,
    ResponseError,
    SFJobsError,
    TransportError,
)
from .exchange import Answer, Lane, Request
from .pace import Governor, Turn
from .retry import Retry, may_repeat

logger = logging.getLogger("sfjobs")

HTTPTransport: TypeAlias = httpx.AsyncBaseTransport
"""What a connection's ``transport=`` takes: the one place where httpx shows through, a seam for tests."""

T = TypeVar("T")

LARGEST_ANSWER = 16 * 2**20
"""Bytes. No JSON answer of the protocol comes near it; results are streamed and have a limit of their own."""

SLOWEST_DOWNLOAD = 1024
"""Bytes/s. A download that is slower over its first ``attempt_timeout`` seconds, or ever after, is given up."""

# httpcore loses a slot of its pool when a request that waits there is cancelled (encode/httpcore#1093), and its queue is
# quadratic. So nothing ever waits there: a limiter of ours, as wide as the pool, stands before each lane.
CONNECTIONS: Mapping[Lane, int] = {"poll": 4, "bulk": 32}

# Shorter than uvicorn's 5 s, so that a submission does not go out on a connection that the server is just closing.
KEEP_ALIVE = 4.0

Attempt: TypeAlias = Callable[[Secret, int], Awaitable[Answer]]
"""One try with this token, the how-manyth it is."""

Consumer: TypeAlias = Callable[[Answer, AsyncIterator[bytes]], Awaitable[T]]


class Transport:
    """The HTTP side of one connection: two lanes with pools of their own and one token for both. Belongs to one event loop."""

    def __init__(self, settings: Settings, *, transport: HTTPTransport | None = None) -> None:
        self._settings = settings
        self._given = transport
        self._retry = Retry(attempts=settings.retries)
        self._clients: dict[Lane, httpx.AsyncClient] = {}
        self._limiters = {lane: anyio.CapacityLimiter(width) for lane, width in CONNECTIONS.items()}
        self._governor = Governor()
        self._tokens = Tokens(self._fetch_token, initial=settings.access_token)
        self._owner: tuple[object, int] | None = None
        self._closed = False

    async def aclose(self) -> None:
        """Ends every connection. Requests still under way fail with ConnectionClosedError. Safe to call twice."""
        self._closed = True
        with anyio.CancelScope(shield=True):
            while self._clients:
                await self._clients.popitem()[1].aclose()

    @property
    def is_open(self) -> bool:
        """Whether there are connections of this process that ``aclose`` would end."""
        return bool(self._clients) and self._owner is not None and self._owner[1] == os.getpid()

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

    async def send(self, request: Request) -> Answer:
        """
        The whole answer, after as many tries as are safe and fit before the caller's own deadline. Raises
        RequestFailedError or one of its kinds, ConnectionClosedError.
        """

        async def attempt(token: Secret, number: int) -> Answer:
            return await self._exchange(request, token, number)

        return await self._persist(request, attempt)

    async def receive(self, request: Request, consume: Consumer[T]) -> T:
        """
        What ``consume`` makes of a streamed answer: its head and its raw chunks. A broken download is started again, with
        a new call of ``consume``. Holds a slot of its lane while it lasts, and is bounded by its pace, not by its length.
        """
        done: list[T] = []

        async def attempt(token: Secret, number: int) -> Answer:
            async with self._limiters[request.lane], self._governor.turn(request.lane) as turn:
                with _logged(request, number) as line:
                    with self._deadline(request):
                        response = await self._start(request, token)
                    line.status = response.status_code
                    try:
                        return await download(response, turn)
                    finally:
                        await _close(response)

        async def download(response: httpx.Response, turn: Turn) -> Answer:
            if not response.is_success:
                with self._deadline(request):
                    return self._answer(request, response, await self._read(request, response)).tell(turn)
            answer = self._answer(request, response).tell(turn)
            answer.check_status()
            async with aclosing(self._paced(request, response)) as chunks:
                done[:] = [await consume(answer, chunks)]
            return answer

        await self._persist(request, attempt)
        return done[0]

    async def _persist(self, request: Request, attempt: Attempt) -> Answer:
        self.check_usable()
        tries = 0
        while True:
            tries += 1
            tracing.note_attempt(tries)
            try:
                return await self._authorised(attempt, tries)
            except (TransportError, ResponseError, ProtocolError) as error:
                error.attempts = tries
                pause = self._pause(request, error, tries)
                if pause is None:
                    raise
                logger.info("attempt %d failed, another follows in %.1f s: %s", tries, pause, error)
            await anyio.sleep(pause)
            self.check_usable()

    def _pause(self, request: Request, error: RequestFailedError, tries: int) -> float | None:
        if not may_repeat(error, harmless=request.harmless):
            return None
        if request.attempts is not None and tries >= request.attempts:
            return None
        pause = self._retry.pause(tries, error.retry_after if isinstance(error, ResponseError) else None)
        if pause is None:
            return None
        start = anyio.current_time() + pause
        if isinstance(error, RateLimitedError) and not error.is_quota:
            pause, start = 0.0, self._governor.due(request.lane)  # the governor makes everyone wait
        # Sleeping into the caller's own deadline would only hide the real reason.
        return None if start >= anyio.current_effective_deadline() else pause

    async def _authorised(self, attempt: Attempt, number: int) -> Answer:
        """One try, and a second one with a fresh token after a 401. No slot is held while a token is fetched."""
        token = await self._tokens.get()
        answer = await attempt(token, number)
        if answer.status_code == 401:
            answer = await attempt(await self._tokens.get(rejected=token), number)
        answer.check_status()
        return answer

    async def _fetch_token(self) -> Token:
        request = token_request(self._settings)
        try:
            return read_token(self._settings, await self._exchange(request, None, 1))
        except RequestFailedError as error:
            error.sent = False  # of the request that wanted the token, nothing has been sent
            raise

    async def _exchange(self, request: Request, token: Secret | None, number: int) -> Answer:
        async with self._limiters[request.lane], self._governor.turn(request.lane) as turn:
            with self._deadline(request), _logged(request, number) as line:
                response = await self._start(request, token)
                line.status = response.status_code
                try:
                    return self._answer(request, response, await self._read(request, response)).tell(turn)
                finally:
                    await _close(response)

    async def _start(self, request: Request, token: Secret | None) -> httpx.Response:
        client = self._client(request.lane)
        with self._translating(request):
            return await client.send(
                client.build_request(
                    request.method,
                    request.path,
                    params=list(request.params) or None,
                    content=request.content,
                    headers={**self._headers(token), **request.headers},
                ),
                stream=True,
            )

    async def _read(self, request: Request, response: httpx.Response) -> bytes:
        collected, chunk = bytearray(), b""
        try:
            async with aclosing(self._chunks(request, response)) as chunks:
                async for chunk in chunks:
                    collected += chunk
                    if len(collected) > LARGEST_ANSWER:
                        self._answer(request, response).refuse(f"more than {LARGEST_ANSWER} bytes")
            return bytes(collected)
        finally:
            # A traceback would keep, and show, what has come so far: half a token, or what a platform repeats.
            collected, chunk = bytearray(), b""

    async def _paced(self, request: Request, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        started, received = anyio.current_time(), 0
        async with aclosing(self._chunks(request, response)) as chunks:
            async for chunk in chunks:
                # Errors about a result quote how it starts.
                yield chunk if received else self._without_secrets(response, chunk)
                received += len(chunk)
                elapsed = anyio.current_time() - started
                if elapsed > self._settings.attempt_timeout and received < SLOWEST_DOWNLOAD * elapsed:
                    raise self._timeout(request, f"only {received} bytes came in {elapsed:.0f} s")

    async def _chunks(self, request: Request, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        if response.headers.get("content-encoding", "identity") != "identity":
            self._answer(request, response).refuse("it is compressed, which was not asked for")
        with self._translating(request):
            # A response that a test's transport made is read already, and only gives its content.
            body = response.aiter_bytes() if response.is_stream_consumed else response.aiter_raw()
            async with aclosing(cast("AsyncGenerator[bytes, None]", body)):
                async for chunk in body:
                    yield chunk
                    del chunk  # a suspended frame would keep it

    def _answer(self, request: Request, response: httpx.Response, body: bytes = b"") -> Answer:
        if body:
            body = self._without_secrets(response, body)
        return Answer(
            request=request,
            url=str(response.url),
            status_code=response.status_code,
            headers=response.headers,
            body=body,
            next_link=response.links.get("next", {}).get("url"),
        )

    def _without_secrets(self, response: httpx.Response, body: bytes) -> bytes:
        """A platform or proxy may repeat in an error what it was sent; errors quote bodies and end in logs."""
        # The token that went out with this request: another one may be at hand by now.
        sent = Secret(response.request.headers.get("authorization", "").removeprefix("Bearer ") or "***")
        for secret in (self._settings.api_key, sent):
            if secret is not None:
                body = body.replace(secret.reveal().encode(), b"***")
        return body

    def _headers(self, token: Secret | None) -> dict[str, str]:
        if token is None:
            return {}
        own = {"Accept-Version": self._settings.api_version, "Authorization": f"Bearer {token.reveal()}"}
        return {**tracing.headers(), **own}

    def _client(self, lane: Lane) -> httpx.AsyncClient:
        if self._closed:
            raise ConnectionClosedError("this connection is closed")
        if lane not in self._clients:
            self._clients[lane] = self._new_client(CONNECTIONS[lane])
        return self._clients[lane]

    def _new_client(self, width: int) -> httpx.AsyncClient:
        settings, url = self._settings, urlsplit(self._settings.url)
        secure = url.scheme == "https"
        return httpx.AsyncClient(
            base_url=settings.url,
            transport=self._given,
            # Loading the trust store takes 150 ms, which a plain address need not pay.
            verify=ssl.create_default_context(cafile=settings.ca_file) if secure else False,
            # A proxy from the environment is not meant for a platform on this very machine.
            trust_env=url.hostname not in ("localhost", "127.0.0.1", "::1"),
            timeout=httpx.Timeout(settings.read_timeout, connect=settings.connect_timeout),
            limits=httpx.Limits(max_connections=width, max_keepalive_connections=width, keepalive_expiry=KEEP_ALIVE),
            headers={"User-Agent": f"sfjobs/{__version__}", "Accept-Encoding": "identity"},
        )

    @contextmanager
    def _deadline(self, request: Request) -> Iterator[None]:
        """Bounds one try as a whole: httpx's own timeouts start again with every byte."""
        with anyio.move_on_after(self._settings.attempt_timeout) as scope:
            yield
        if scope.cancelled_caught:
            raise self._timeout(request, f"no whole answer came in {self._settings.attempt_timeout:g} s")

    def _timeout(self, request: Request, reason: str, *, sent: bool = True) -> RequestTimeoutError:
        url = self._settings.url + request.path
        return RequestTimeoutError(f"{request.method} {url}: {reason}", method=request.method, url=url, sent=sent)

    @contextmanager
    def _translating(self, request: Request) -> Iterator[None]:
        """httpx's errors as ours. Frames below ours hold headers with the token in them, so no traceback keeps them."""
        try:
            yield
        except SFJobsError:
            raise
        except (
            httpx.HTTPError,
            httpx.StreamError,
            OSError,
            anyio.ClosedResourceError,
            anyio.BrokenResourceError,
        ) as error:
            if self._closed:
                raise ConnectionClosedError("this connection was closed while a request was under way") from None
            raise self._translated(request, error) from _without_frames(error)
        except BaseException as error:
            if self._closed and isinstance(error, RuntimeError):
                raise ConnectionClosedError("this connection was closed while a request was under way") from None
            _without_frames(error)
            raise

    def _translated(self, request: Request, error: Exception) -> TransportError:
        sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        if isinstance(error, httpx.TimeoutException):
            silence = self._settings.read_timeout if sent else self._settings.connect_timeout
            verb = "was silent" if sent else "could not be reached"
            return self._timeout(request, f"the platform {verb} for {silence:g} s", sent=sent)
        url = self._settings.url + request.path
        what = "the connection broke" if sent else "the platform could not be reached"
        return TransportError(
            f"{request.method} {url}: {what} ({_cause(error)})",
            method=request.method,
            url=url,
            sent=sent,
        )


@dataclass(slots=True)
class _Line:
    """What is known of a request when its line goes to the log."""

    status: int | None = None


@contextmanager
def _logged(request: Request, number: int) -> Iterator[_Line]:
    """One line for each request, whether or not it was answered. A query may hold a hundred ids and is not in it."""
    line, started = _Line(), anyio.current_time()
    try:
        yield line
    finally:
        logger.debug(
            "%s %s %s %.0f ms, attempt %d",
            request.method,
            request.path.partition("?")[0],
            line.status or "no answer",
            1e3 * (anyio.current_time() - started),
            number,
        )


async def _close(response: httpx.Response) -> None:
    with anyio.CancelScope(shield=True):
        await response.aclose()


def _cause(error: BaseException) -> str:
    """What the deepest cause says of itself; httpx's own messages are often empty."""
    for _ in range(10):
        deeper = error.__cause__ or error.__context__
        if deeper is None:
            break
        error = deeper
    return str(error) or type(error).__name__


def _without_frames(error: BaseException) -> BaseException:
    deeper: BaseException | None = error
    seen: set[int] = set()
    while deeper is not None and id(deeper) not in seen:
        seen.add(id(deeper))
        deeper.__traceback__ = None
        deeper = deeper.__cause__ or deeper.__context__
    return error
