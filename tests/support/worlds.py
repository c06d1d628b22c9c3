"""
The three environments of a scenario: the async API in virtual time, on asyncio and on trio, and the blocking twin in real time,
with all times shortened. ``BlockingWorld`` makes the blocking objects awaitable, so that the code of a scenario is the same.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Coroutine, Generator, Iterable
from typing import Any, Protocol

import anyio
import httpx

import sfjobs
from tests.support.fake_platform import FakePlatform


class World(Protocol):
    """What a scenario uses. ``time`` converts seconds of the scenario to seconds of the clock ``now``."""

    platform: FakePlatform
    connection: Any

    def now(self) -> float: ...
    def time(self, seconds: float) -> float: ...
    async def sleep(self, seconds: float) -> None: ...
    def job(self, id_: str, status: str) -> Any: ...
    def engine(self, target: str) -> Any: ...
    async def wait_all(self, jobs: Iterable[Any], timeout: float | None = None) -> Any: ...
    async def first(self, jobs: Iterable[Any], k: int) -> Any: ...
    def as_completed(self, jobs: Iterable[Any], timeout: float | None = None) -> AsyncIterator[Any]: ...


class AsyncWorld:
    """The async API itself."""

    def __init__(self, platform: FakePlatform, connection: sfjobs.Connection) -> None:
        self.platform = platform
        self.connection: Any = connection
        self.wait_all = sfjobs.wait_all
        self.first = sfjobs.first
        self.as_completed = sfjobs.as_completed

    def now(self) -> float:
        return anyio.current_time()

    def time(self, seconds: float) -> float:
        return seconds

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    def job(self, id_: str, status: str) -> sfjobs.Job:
        return sfjobs.Job(id_, status, self.connection)

    def engine(self, target: str) -> sfjobs.RemoteEngine:
        return sfjobs.RemoteEngine(target, self.connection)


class BlockingWorld:
    """The blocking twin. The clock of its connection's event loop is ``time.monotonic``."""

    scale = 0.01

    def __init__(self, platform: FakePlatform) -> None:
        platform.cancelling = self.time(1)
        self.platform = platform
        settings = platform.settings(poll_interval_min=self.time(1), poll_interval_max=self.time(5), retries=2)
        self.blocking = sfjobs.sync.Connection(settings=settings, transport=httpx.MockTransport(platform.handle))
        self._views: dict[int, tuple[object, View]] = {}
        self.connection: Any = self.view(self.blocking)

    def view(self, value: Any) -> Any:
        """Return the same view for the same object, so that ``is`` works."""
        if isinstance(value, list):
            return [self.view(item) for item in value]
        if not isinstance(value, sfjobs.sync.Connection | sfjobs.sync.Job | sfjobs.sync.RemoteEngine):
            return value
        if id(value) not in self._views:
            self._views[id(value)] = (value, View(value, self))
        return self._views[id(value)][1]

    def now(self) -> float:
        return time.monotonic()

    def time(self, seconds: float) -> float:
        return seconds * self.scale

    async def sleep(self, seconds: float) -> None:
        time.sleep(self.time(seconds))  # noqa: ASYNC251 - no loop runs here

    def job(self, id_: str, status: str) -> Any:
        return self.view(sfjobs.sync.Job(id_, status, self.blocking))

    def engine(self, target: str) -> Any:
        return self.view(sfjobs.sync.RemoteEngine(target, self.blocking))

    async def wait_all(self, jobs: Iterable[Any], timeout: float | None = None) -> Any:
        return sfjobs.sync.wait_all([job.viewed for job in jobs], timeout)

    async def first(self, jobs: Iterable[Any], k: int) -> Any:
        return self.view(sfjobs.sync.first([job.viewed for job in jobs], k))

    async def as_completed(self, jobs: Iterable[Any], timeout: float | None = None) -> AsyncIterator[Any]:
        with sfjobs.sync.as_completed([job.viewed for job in jobs], timeout) as completions:
            for job in completions:
                yield self.view(job)


class View:
    """A blocking object whose methods can be awaited: they block before that."""

    def __init__(self, viewed: Any, world: BlockingWorld) -> None:
        self.viewed = viewed
        self._world = world

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.viewed, name)
        if not callable(value):
            return value

        async def call(*args: Any, **kwargs: Any) -> Any:
            return self._world.view(value(*args, **kwargs))

        return call

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from ()
        return self.viewed.finish()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, View) and self.viewed == other.viewed

    def __hash__(self) -> int:
        return hash(self.viewed)


def driven(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never waits for an event loop."""
    try:
        scenario.send(None)
    except StopIteration:
        return
    scenario.close()
    raise AssertionError("a scenario on the blocking twin waited for an event loop")
