"""The embedded platform, which runs programs, behind a scripted one. It needs the extra ``platform``."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import httpx

from ..errors import ConfigurationError
from .answers import Answer, Received
from .backend import Backend
from .faults import Faults
from .scripted_platform import ScriptedPlatform

if TYPE_CHECKING:
    from ..platform import Platform

_HOP_BY_HOP = frozenset({"connection", "content-length", "date", "keep-alive", "transfer-encoding"})


class EmbeddedPlatform(ScriptedPlatform):
    """
    The embedded platform of ``sfjobs serve``, which really runs programs, with faults, latency and a log. For ``serving``.

        with serving(EmbeddedPlatform(), faults=Faults(Fault.status(503, times=3))) as platform: ...

    ``test_targets`` adds the devices ``never`` and ``always_fails``; ``workers`` run the programs.

    Raises:
        ConfigurationError: the extra ``platform`` is not installed.
    """

    def __init__(
        self, *, faults: Faults | None = None, latency: float = 0.0, workers: int = 1, test_targets: bool = False
    ) -> None:
        try:
            from ..platform.server.serving import serving
        except ImportError as error:
            raise ConfigurationError(
                f"EmbeddedPlatform runs programs, and a package of the embedded platform is missing: {error.name}\n"
                "Run: pip install 'sfjobs[platform]', or use FakePlatform, which needs nothing more."
            ) from error
        super().__init__(EmbeddedBackend(faults, latency, serving(workers=workers, test_targets=test_targets)))


class EmbeddedBackend(Backend):
    """Hands requests to an embedded platform, which runs while the backend is opened."""

    def __init__(self, faults: Faults | None, latency: float, platform: AbstractContextManager[Platform]) -> None:
        super().__init__(faults, latency)
        self._platform = platform
        self._upstream = ""
        self._tokens: set[str] = set()
        self._expired: set[str] = set()
        self._client: httpx.AsyncHTTPTransport | None = None

    def opened(self) -> AbstractContextManager[object]:
        """Run the embedded platform while the block runs."""
        return self._opened()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[None]:
        with self._platform as platform:
            self._upstream, self.api_key = platform.url, platform.api_key
            yield

    async def release(self) -> None:
        """Close the connections to the embedded platform."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def secrets(self) -> list[str]:
        """Return what the log masks."""
        return [self.api_key, *self._tokens]

    def expire_tokens(self) -> None:
        """Let all access tokens expire now: each connection fetches another after its next request."""
        self._expired |= self._tokens

    async def answer(self, request: Received) -> Answer:
        """Answer a request without any fault."""
        headers = {name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP}
        token = headers.get("authorization", "").removeprefix("Bearer ")
        if token in self._expired:
            headers["authorization"] = "Bearer expired"
        elif token and not request.path.startswith("/auth/"):
            self._tokens.add(token)
        self._client = self._client or httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=None))
        response = await self._client.handle_async_request(
            httpx.Request(
                request.method,
                f"{self._upstream}{request.target}",
                headers=headers,
                content=request.body,
                extensions={"timeout": {}},
            )
        )
        kept = {name: value for name, value in response.headers.items() if name.lower() not in _HOP_BY_HOP}
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            return Answer(status=response.status_code, headers=kept, stream=_UpstreamEvents(response))
        return Answer(status=response.status_code, headers=kept, body=await response.aread())


class _UpstreamEvents:
    """The pieces of a stream of the embedded platform, each of whole events."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._pieces = response.aiter_raw()
        self._rest = b""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while True:
            self._rest += await anext(self._pieces)
            whole, end, self._rest = self._rest.rpartition(b"\n\n")
            if whole:
                return whole + end

    async def aclose(self) -> None:
        await self._response.aclose()
