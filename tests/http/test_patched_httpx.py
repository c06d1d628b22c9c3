"""
Requests of a default Connection go through httpx while a test or an instrumentation has patched it, shown with respx,
pytest-httpx and OpenTelemetry's instrumentor, and over connections of our own otherwise.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from types import FrameType
from typing import Any

import httpcore
import httpx
import pytest
import respx
import wrapt
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pytest_httpx import HTTPXMock

import sfjobs
from sfjobs import Connection, DirectTransport, Settings, sync
from tests.support.both_transports import LEFT_GENERATORS
from tests.support.fake_platform import KEY, FakePlatform
from tests.support.raw_server import RawServer, raw_server, serving

pytestmark = [pytest.mark.real_time, LEFT_GENERATORS]

URL = "https://platform.test"
JOB = {"id": "j1", "status": "complete", "meta": {}, "created_at": "2026-01-27T15:15:25.801308Z"}
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    async with raw_server(serving(ANSWER)) as server:
        yield server


def settings(url: str = URL, **more: Any) -> Settings:
    return Settings(**{"url": url, "access_token": "a-token", **more})


# -- respx ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("using", ["httpcore", "httpx"])
async def test_respx_sees_every_request_of_a_default_connection(using: str) -> None:
    platform = FakePlatform(offers_batches=True, honours_keys=True)
    with respx.mock(using=using) as router:
        route = router.route(host="platform.test").mock(side_effect=platform.handle)
        async with Connection(URL, api_key=KEY) as connection:
            assert await connection.ping()
            jobs = [job async for job in connection.create_jobs("X8_01", ["Vac | 0\n"] * 5, shots=1)]
            for job in platform.jobs.values():
                job.status = "complete"
            assert await sfjobs.wait_all(jobs, timeout=10) == ["complete"] * 5
            assert jobs[0].result.shots == 3
            assert len([job async for job in connection.list_jobs()]) == 5
    assert route.call_count == len(platform.requests) >= 9
    assert platform.token_requests == 1
    assert all(request.url.host == "platform.test" for request in platform.requests)


@pytest.mark.parametrize("using", ["httpcore", "httpx"])
async def test_a_mock_that_begins_and_ends_while_a_connection_lives_is_honoured(using: str, server: RawServer) -> None:
    async with Connection(settings=settings(server.url)) as connection:
        for round_ in (1, 2, 3):
            await connection.ping()
            assert server.connections >= 1
            with respx.mock(using=using) as router:
                route = router.get(f"{server.url}/healthz").respond(200)
                await connection.ping()
                await connection.ping()
                assert route.call_count == 2, round_
        await connection.ping()
    assert server.connections == 1, "the connection of our own was kept"


def test_the_blocking_twin_is_seen_too() -> None:
    with respx.mock as router, sync.Connection(settings=settings()) as connection:
        route = router.get(f"{URL}/jobs/j1").respond(json=JOB)
        assert connection.get_job("j1").status == "complete"
        assert route.called


async def test_what_a_mock_raises_is_what_httpx_would_raise() -> None:
    with respx.mock as router:
        router.get(f"{URL}/healthz").mock(side_effect=httpx.ConnectError("no"))
        async with Connection(settings=settings(retries=1)) as connection:
            with pytest.raises(sfjobs.TransportError) as caught:
                await connection.ping()
    assert isinstance(caught.value.__cause__, httpx.ConnectError)


# -- pytest-httpx --------------------------------------------------------------------------------------------------------


async def test_pytest_httpx_sees_the_requests(httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(url=f"{URL}/jobs?size=20", json={"data": [JOB]})
    httpx_mock.add_response(url=f"{URL}/jobs/j1/circuit", json={"circuit": "Vac | 0"})
    async with Connection(settings=settings()) as connection:
        jobs = [job async for job in connection.list_jobs(limit=20)]
        assert await connection.get_job_circuit(jobs[0].id) == "Vac | 0"
    assert [request.headers["authorization"] for request in httpx_mock.get_requests()] == ["Bearer a-token"] * 2


# -- OpenTelemetry -------------------------------------------------------------------------------------------------------


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = HTTPXClientInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        yield exporter
    finally:
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()


async def test_the_instrumentor_of_opentelemetry_sees_the_requests(
    spans: InMemorySpanExporter, server: RawServer
) -> None:
    async with Connection(settings=settings(server.url)) as connection:
        await connection.ping()
        await connection.ping()
        urls = [(span.attributes or {}).get("http.url") for span in spans.get_finished_spans()]
        assert urls == [f"{server.url}/healthz"] * 2
        HTTPXClientInstrumentor().uninstrument()
        await connection.ping()
    assert len(spans.get_finished_spans()) == 2


# -- any other patch -----------------------------------------------------------------------------------------------------


def wrapped(function: Callable[..., Any], calls: list[str], how: str) -> Any:
    """``function`` with a count of its calls, in a decorator or in a proxy that is equal to it."""

    def count(inner: Callable[..., Any], _: object, args: Any, kwargs: Any) -> Any:
        calls.append(function.__qualname__)
        return inner(*args, **kwargs)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return count(function, None, args, kwargs)

    return wrapt.FunctionWrapper(function, count) if how == "a proxy" else wrapper


async def functions_of_a_request(url: str) -> dict[str, tuple[type, str]]:
    """Each coroutine method of httpx and httpcore that a request passes, as class and name."""
    codes: set[Any] = set()

    def profile(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        takes_request = "request" in code.co_varnames[: code.co_argcount]
        if event == "call" and takes_request and code.co_flags & inspect.CO_COROUTINE:
            codes.add(code)

    async with httpx.AsyncClient(trust_env=False) as client:
        sys.setprofile(profile)
        try:
            await client.send(httpx.Request("POST", url, content=b"x"))
        finally:
            sys.setprofile(None)
    found: dict[str, tuple[type, str]] = {}
    for module in (httpx, httpcore):
        for kind in vars(module).values():
            if not isinstance(kind, type):
                continue
            for name, function in vars(kind).items():
                if getattr(function, "__code__", None) in codes:
                    found[f"{kind.__name__}.{name}"] = (kind, name)
    return found


async def test_any_function_of_httpx_that_a_request_passes_may_be_patched(server: RawServer) -> None:
    functions = await functions_of_a_request(server.url)
    assert {
        "AsyncClient.send",
        "AsyncClient._send_single_request",
        "AsyncHTTPTransport.handle_async_request",
        "AsyncConnectionPool.handle_async_request",
        "AsyncHTTP11Connection._send_request_headers",
    } <= functions.keys()
    for name, (kind, attribute) in functions.items():
        for how in ("a function", "a proxy"):
            calls: list[str] = []
            async with Connection(settings=settings(server.url)) as connection:
                await connection.ping()
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(kind, attribute, wrapped(vars(kind)[attribute], calls, how))
                    await connection.ping()
                assert calls, f"{how} in the place of {name} was not called"


async def test_a_client_class_in_the_place_of_httpxs_is_used(
    monkeypatch: pytest.MonkeyPatch, server: RawServer
) -> None:
    platform = FakePlatform()
    platform.valid_tokens.add("a-token")
    async with Connection(settings=settings(server.url)) as connection:
        await connection.ping()
        mock = httpx.MockTransport(platform.handle)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(httpx, "AsyncClient", functools.partial(httpx.AsyncClient, transport=mock))
            await connection.ping()
        assert len(platform.requests) == 1

        class Client(httpx.AsyncClient):
            async def send(self, request: httpx.Request, **more: Any) -> httpx.Response:
                platform.requests.append(request)
                return await super().send(request, **more)

        monkeypatch.setattr(httpx, "AsyncClient", Client)
        await connection.ping()
        assert len(platform.requests) == 2


async def test_a_given_transport_of_ours_goes_through_a_patched_client_only(
    monkeypatch: pytest.MonkeyPatch, server: RawServer
) -> None:
    calls: list[str] = []
    async with Connection(settings=settings(server.url), transport=DirectTransport()) as connection:
        with respx.mock:  # httpx, too, uses a given transport although others are mocked
            await connection.ping()
        monkeypatch.setattr(httpx.AsyncClient, "send", wrapped(httpx.AsyncClient.send, calls, "a function"))
        await connection.ping()
    assert calls == ["AsyncClient.send"]
    assert server.connections == 1


async def test_a_replaced_send_may_return_a_response_that_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async def send(client: httpx.AsyncClient, request: httpx.Request, **_: Any) -> httpx.Response:
        response = httpx.Response(200, json=JOB, request=request)
        await response.aread()
        return response

    monkeypatch.setattr(httpx.AsyncClient, "send", send)
    async with Connection(settings=settings()) as connection:
        assert (await connection.get_job("j1")).status == "complete"
