"""What the parts of one connection share. ``Connection`` makes a session; jobs, groups and submissions work with it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from .._http.api import PlatformAPI
from .._http.transport import Transport
from .._journal import JournalSession
from .._tracking.change_feed import ChangeFeed
from .._tracking.poller import Poller
from .._tracking.queries import StatusSources
from .._tracking.types import PollInterval
from ..config import Secret, Settings

if TYPE_CHECKING:
    from ..results.download.fetcher import ResultFetcher


class Session:
    """The endpoints, the poller, the journal and the result downloads of one connection."""

    def __init__(self, settings: Settings, transport: Transport) -> None:
        self.settings = settings
        self.transport = transport
        self.api = PlatformAPI(settings, transport)
        self.journal = JournalSession(settings, lambda: transport.clock.offset)
        interval = PollInterval(least=settings.poll_interval_min, most=settings.poll_interval_max)
        self.poller = Poller(StatusSources(self.api), ChangeFeed(self.api.changes, self.api.note), interval)

    @property
    def secrets(self) -> list[Secret]:
        """The secrets of this connection, which errors do not show."""
        return self.transport.secrets

    @cached_property
    def results(self) -> ResultFetcher:
        """The downloads. Imported with the first one, because they need numpy."""
        from ..results.download.fetcher import ResultFetcher

        return ResultFetcher(self.settings, self.transport)

    async def aclose(self) -> None:
        """Fail all waiters with ConnectionClosedError, close the connections, and write the journal."""
        await self.poller.aclose()
        await self.transport.aclose()
        await self.journal.flush()
