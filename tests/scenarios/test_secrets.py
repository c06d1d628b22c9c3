"""
An API key and tokens are planted, everything that can go wrong goes wrong, and whatever a log, a traceback with locals, a
pickle or a repr would show is searched for them.
"""

from __future__ import annotations

import base64
import json
import logging
import pickle
import traceback
from collections.abc import Awaitable, Callable, Iterator
from io import StringIO

import anyio
import httpx
import pytest
from rich.console import Console
from rich.pretty import pretty_repr
from rich.traceback import Traceback

from sfjobs import Connection, Job, RemoteEngine, Secret, Settings, as_completed
from sfjobs._client.connection import internals
from sfjobs.errors import (
    AuthenticationError,
    ProtocolError,
    RequestTimeoutError,
    ServerError,
    SubmissionUnknownError,
    TransportError,
    WaitTimeoutError,
)
from tests.support.fake_platform import KEY, URL, FakePlatform
from tests.support.raw_server import JSON_HEAD, Peer, Script, answering, raw_server, reset_after_head, reset_at_once

# trio warns of generators that are dropped half-way: httpx nests several and closes none of them.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <async_generator object (AsyncIteratorByteStream|BoundAsyncStream|ByteStream|Response)"
)
GIVEN_TOKEN = "given-token-that-must-never-be-seen"
PLANTED = "that-must-never-be-seen"
"""A part of the key and of every token that the fake platform makes."""
JOB = "c1b2-job"
PROGRAM = "name p\nversion 1.0\n\nMeasureFock() | 0\n"
PATH = "/auth/realms/platform/protocol/openid-connect/token"


def traces_in(text: str | bytes) -> list[str]:
    data = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    forms = (KEY, GIVEN_TOKEN, PLANTED, base64.b64encode(KEY.encode()).decode(), KEY.encode().hex())
    return [form for form in forms if form.encode() in data]


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error with all that it was caused by or happened while handling, suppressed or not."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [other for other in (one.__cause__, one.__context__) if other is not None]
        waiting += one.exceptions if isinstance(one, BaseExceptionGroup) else []


def shown_of_error(error: BaseException) -> Iterator[tuple[str, str | bytes]]:
    for one in chain(error):
        name = type(one).__name__
        yield (
            f"traceback of {name}",
            "".join(traceback.TracebackException.from_exception(one, capture_locals=True).format()),
        )
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if not frame.f_code.co_filename.endswith("test_secrets.py"):  # the tests themselves hold what they plant
                yield f"rich locals of {name}", pretty_repr(frame.f_locals, max_length=20)
        yield f"fields of {name}", f"{one!r} {one} {one.args!r} {vars(one)!r}"
    yield "pickle", pickle.dumps(error)


def shown_of_object(thing: object) -> Iterator[tuple[str, str | bytes]]:
    name = type(thing).__name__
    yield (
        f"repr of {name}",
        f"{thing!r} {thing} {pretty_repr(thing)} {thing.__dict__ if hasattr(thing, '__dict__') else ''}",
    )
    try:
        yield f"pickle of {name}", pickle.dumps(thing)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        yield f"refusal to pickle {name}", str(error)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """All log records."""
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "sfjobs", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


def leaks(log: pytest.LogCaptureFixture, error: BaseException | None = None, *things: object) -> list[str]:
    """The places that show a planted text."""
    shown = list(shown_of_error(error)) if error is not None else []
    for thing in things:
        shown += shown_of_object(thing)
    shown += [(f"log of {r.name}", f"{r.getMessage()} {r.args!r} {r.exc_text or ''}") for r in log.records]
    return [place for place, text in shown if traces_in(text)]


def test_the_search_finds_a_planted_secret(log: pytest.LogCaptureFixture) -> None:
    def careless(key: str) -> None:
        logging.getLogger("careless").debug("the key is %s", key)
        raise ValueError

    with pytest.raises(ValueError) as caught:  # noqa: PT011 - any
        careless(KEY)
    places = leaks(log, caught.value, {"key": KEY})
    assert {place.split()[0] for place in places} == {"traceback", "repr", "pickle", "log"}


async def test_rich_shows_no_secret_either(log: pytest.LogCaptureFixture) -> None:
    platform = FakePlatform()
    playing(platform, of("/healthz", lambda request: echo(request, 500)))
    page = StringIO()
    async with platform.connection(retries=1) as connection:
        try:
            await connection.ping()
        except ServerError:
            Console(file=page, width=200).print(Traceback(show_locals=True))
    assert "ServerError" in page.getvalue()
    assert traces_in(page.getvalue()) == []


# -- the objects that a program holds --


async def test_no_object_shows_a_secret(log: pytest.LogCaptureFixture) -> None:
    platform = FakePlatform()
    async with platform.connection() as connection:
        job = await connection.create_job("X8_01", PROGRAM, name="demo")
        platform.jobs[job.id].status = "complete"
        result = await job
        engine = RemoteEngine("X8", connection)
        listed = [job async for job in connection.list_jobs()]
        things = [
            connection,
            connection.settings,
            internals(connection),
            internals(connection).api,
            job,
            job.snapshot,
            result,
            engine,
        ]
        assert leaks(log, None, *things, *listed, as_completed([job])) == []


@pytest.mark.parametrize("credential", ["api_key", "access_token"])
def test_settings_do_not_show_a_secret(credential: str, log: pytest.LogCaptureFixture) -> None:
    settings = Settings(url=URL, **{credential: KEY})  # type: ignore[arg-type]  # one of the two
    assert leaks(log, None, settings, settings.sources, Secret(KEY)) == []


# -- failures in virtual time --

Trouble = Callable[[httpx.Request], httpx.Response | Exception | None]


def echo(request: httpx.Request, status: int, **headers: str) -> httpx.Response:
    """Repeats the whole request in every part of the response."""
    sent = {"detail": f"cannot serve {request.headers} {request.content.decode()}"}
    sent["code"] = request.headers.get("authorization", "none")[:90]
    meta = dict(request.headers)
    said = request.headers.get("authorization", "") or request.content.decode()
    return httpx.Response(status, json={**sent, "meta": meta}, headers={"X-Echo": said, **headers})


def plain(request: httpx.Request, status: int) -> httpx.Response:
    text = request.headers.get("authorization", "") + request.content.decode()
    return httpx.Response(status, text=text, headers={"Content-Type": f"text/plain; about={text[:300]!r}"})


def of(path: str, response: Callable[[httpx.Request], httpx.Response | Exception]) -> Trouble:
    return lambda request: response(request) if request.url.path == path else None


FAILURES: dict[str, tuple[Trouble, type[Exception]]] = {
    "401 that repeats all": (of("/healthz", lambda r: echo(r, 401)), AuthenticationError),
    "500 that repeats all": (of("/healthz", lambda r: echo(r, 500)), ServerError),
    "500 that repeats all as text": (of("/healthz", lambda r: plain(r, 500)), ServerError),
    "204 that repeats all": (of("/healthz", lambda r: echo(r, 204)), ProtocolError),
    "a redirect that repeats all": (
        of("/healthz", lambda r: echo(r, 302, location=f"http://e.test/?{r.headers['authorization']}")),
        ProtocolError,
    ),
    "a broken connection": (of("/healthz", lambda _: httpx.ReadError("reset")), TransportError),
    "no connection": (of("/healthz", lambda _: httpx.ConnectError("refused")), TransportError),
    "silence": (of("/healthz", lambda _: httpx.ReadTimeout("")), RequestTimeoutError),
    "a server that breaks the protocol": (of("/healthz", lambda _: httpx.RemoteProtocolError("x")), TransportError),
    "an unusable token": (
        of(PATH, lambda _: httpx.Response(200, json={"access_token": "a\n" + GIVEN_TOKEN})),
        ProtocolError,
    ),
    "a bare token": (of(PATH, lambda _: httpx.Response(200, json=GIVEN_TOKEN)), ProtocolError),
    "a token as text": (of(PATH, lambda _: httpx.Response(200, text=GIVEN_TOKEN)), ProtocolError),
    "a token cut off": (
        of(PATH, lambda _: httpx.Response(200, text='{"access_token": "' + GIVEN_TOKEN)),
        ProtocolError,
    ),
    "a token with a wrong status": (of(PATH, lambda _: httpx.Response(302, text=GIVEN_TOKEN)), ProtocolError),
    "a refused key that is repeated": (of(PATH, lambda r: echo(r, 400)), AuthenticationError),
    "a token endpoint in trouble that repeats all": (of(PATH, lambda r: echo(r, 500)), ServerError),
    "a token endpoint in trouble that repeats all as text": (of(PATH, lambda r: plain(r, 502)), ServerError),
    "a token endpoint that breaks": (of(PATH, lambda _: httpx.ReadError("reset")), TransportError),
}


def playing(platform: FakePlatform, trouble: Trouble) -> None:
    async def response(request: httpx.Request) -> httpx.Response | None:
        response = trouble(request)
        if isinstance(response, Exception):
            raise response
        return response

    platform.trouble = response


@pytest.mark.parametrize("failure", FAILURES)
async def test_no_failure_shows_a_secret(failure: str, log: pytest.LogCaptureFixture) -> None:
    trouble, kind = FAILURES[failure]
    platform = FakePlatform()
    playing(platform, trouble)
    async with platform.connection(retries=2) as connection:
        with pytest.raises(kind) as caught:
            await connection.ping()
        assert leaks(log, caught.value, connection) == []


OPERATIONS: dict[str, Callable[[Connection], Awaitable[object]]] = {
    "create_job": lambda c: c.create_job("X8_01", PROGRAM),
    "get_job": lambda c: c.get_job(JOB),
    "wait": lambda c: Job(JOB, "queued", c).wait(timeout=5),
    "cancel": lambda c: c.cancel_job(JOB),
    "result": lambda c: Job(JOB, "complete", c).fetch_result(),
    "get_device": lambda c: c.get_device("X8_01"),
    "run": lambda c: RemoteEngine("X8", c).run(PROGRAM),
}


@pytest.mark.parametrize(
    ("operation", "status"),
    [(operation, status) for operation in OPERATIONS for status in (200, 401, 409)],
)
async def test_no_operation_shows_a_secret_of_its_response(
    operation: str, status: int, log: pytest.LogCaptureFixture
) -> None:
    platform = FakePlatform()
    playing(platform, lambda r: None if r.url.path == PATH else echo(r, status))
    async with platform.connection(retries=1) as connection:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is for others to test
            await OPERATIONS[operation](connection)
        assert leaks(log, caught.value, connection) == []


async def test_a_wait_that_ends_too_early_shows_no_secret(log: pytest.LogCaptureFixture) -> None:
    platform = FakePlatform()
    job = platform.add()
    async with platform.connection() as connection:
        with pytest.raises(WaitTimeoutError) as caught:
            await (await connection.get_job(job.id)).wait(timeout=5)
        assert leaks(log, caught.value) == []


async def test_a_submission_with_an_unknown_outcome_shows_no_secret(log: pytest.LogCaptureFixture) -> None:
    platform = FakePlatform()
    playing(platform, of("/jobs", lambda _: httpx.WriteError("reset")))
    async with platform.connection() as connection:
        with pytest.raises(SubmissionUnknownError) as caught:
            await connection.create_job("X8_01", PROGRAM)
        assert leaks(log, caught.value) == []


async def test_a_scope_that_ends_during_a_request_shows_no_secret(log: pytest.LogCaptureFixture) -> None:
    platform = FakePlatform(latency=10)
    async with platform.connection() as connection:
        with pytest.raises(TimeoutError) as caught, anyio.fail_after(15):
            await connection.ping()
        assert leaks(log, caught.value) == []


async def test_a_replaced_token_is_not_shown_either(log: pytest.LogCaptureFixture) -> None:
    platform = FakePlatform()
    delays = {"/devices": 5.0, "/healthz": 1.0}

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        await anyio.sleep(delays.get(request.url.path, 0))
        return echo(request, 500) if request.url.path == "/devices" else None

    platform.trouble = trouble
    async with platform.connection(retries=1) as connection:
        await connection.ping()
        async with anyio.create_task_group() as group:

            async def renew() -> None:
                await anyio.sleep(1)
                platform.revoke_tokens()
                await connection.ping()

            group.start_soon(renew)
            with pytest.raises(ServerError) as caught:
                await connection.list_devices()
        assert leaks(log, caught.value) == []


# -- failures on a socket --


async def echo_and_reset(peer: Peer) -> None:
    """Repeats the request in half an error and breaks the connection."""
    request = await peer.read_request()
    said = json.dumps({"detail": request.decode()}).encode()
    head = b"HTTP/1.1 500 Oops\r\nContent-Length: %d\r\n\r\n" % (len(said) + 99)
    await peer.send(head + said)
    await peer.reset()


async def garbage_of_the_request(peer: Peer) -> None:
    """Sends the request back as the response."""
    await peer.send(await peer.read_request())


TOKEN_CUT_OFF = JSON_HEAD + b'Content-Length: 500\r\n\r\n{"access_token": "' + GIVEN_TOKEN.encode()
SOCKETS: dict[str, tuple[Script, type[Exception]]] = {
    "a reset at once": (reset_at_once, TransportError),
    "a reset after the head": (reset_after_head, TransportError),
    "a reset within a response that repeats all": (echo_and_reset, ServerError),
    "the request itself as the response": (garbage_of_the_request, TransportError),
    "a token cut off": (answering(TOKEN_CUT_OFF), TransportError),
}


@pytest.mark.real_time
@pytest.mark.parametrize("credential", ["api_key", "access_token"])
@pytest.mark.parametrize("failure", list(SOCKETS))
async def test_no_broken_connection_shows_a_secret(
    failure: str, credential: str, log: pytest.LogCaptureFixture
) -> None:
    script, kind = SOCKETS[failure]
    async with raw_server(script) as server:
        settings = Settings(url=server.url, retries=1, **{credential: KEY})  # type: ignore[arg-type]  # one of the two
        async with Connection(settings=settings) as connection:
            with pytest.raises(kind) as caught:
                await connection.ping()
            assert leaks(log, caught.value, connection) == []


@pytest.mark.real_time
async def test_a_connection_that_breaks_while_a_request_is_written_shows_no_secret(
    log: pytest.LogCaptureFixture,
) -> None:
    async with raw_server(reset_after_head) as server:
        settings = Settings(url=server.url, access_token=GIVEN_TOKEN, retries=1)
        async with Connection(settings=settings) as connection:
            with pytest.raises(SubmissionUnknownError) as caught:
                await connection.create_job("X8_01", PROGRAM + "# " + "x" * 2**23)
            assert leaks(log, caught.value, connection) == []
