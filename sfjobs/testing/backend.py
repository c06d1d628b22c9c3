"""What answers the requests of a scripted platform: the base of its kinds, without their public face. No sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

from .answers import Answer, Received
from .clock import Calendar, LoopClock, VirtualClock
from .faults import Faults
from .request_log import RequestLog

IN_MEMORY = "http://platform.test"
API_KEY = "the-key-of-a-scripted-platform"


class Backend:
    """Address, key, faults, latency, log and clock of a platform. ``disconnect`` resets the connections of its server."""

    def __init__(self, faults: Faults | None, latency: float, clock: VirtualClock | None = None) -> None:
        self.url = IN_MEMORY
        self.api_key = API_KEY
        self.faults = Faults() if faults is None else faults
        self.requests = RequestLog()
        self.latency = latency
        self.disconnect: Callable[[], None] = _nothing
        self._clock = LoopClock() if clock is None else clock
        self._calendar = Calendar(self._clock)

    def now(self) -> float:
        """Return the platform's time in seconds."""
        return self._clock()

    def date(self, seconds: float) -> datetime:
        """Return the date at these seconds of the platform's time."""
        return self._calendar.date(seconds)

    def listen_at(self, url: str, disconnect: Callable[[], None]) -> None:
        """Have this url from now on, and live in real time."""
        if isinstance(self._clock, LoopClock):
            self._clock.use_real_time()
        self.url, self.disconnect = url, disconnect

    def leave(self) -> None:
        """Be in memory again."""
        self.url, self.disconnect = IN_MEMORY, _nothing

    def opened(self) -> AbstractContextManager[object]:
        """Have all that answering needs while the block runs."""
        return nullcontext()

    async def release(self) -> None:
        """Close what answering has opened in the event loop of the server."""

    def secrets(self) -> Iterable[str]:
        """Return what the log masks."""
        return [self.api_key]

    def expire_tokens(self) -> None:
        """Let all access tokens expire now."""
        raise NotImplementedError

    async def answer(self, request: Received) -> Answer:
        """Answer a request without any fault."""
        raise NotImplementedError


def _nothing() -> None:
    """Reset no connections, since in memory there are none."""
