"""``ScriptedPlatform``: what the platforms of this package have in common for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from ..config import Settings
from ..config.settings import SettingsArguments
from .backend import IN_MEMORY, Backend
from .faults import Faults
from .request_log import RequestLog

if TYPE_CHECKING:
    from .. import sync
    from .._client.connection import Connection
    from .._http.transport import HTTPTransport


class ScriptedPlatform:
    """
    A platform whose faults and latency a test scripts, and which logs the requests that it receives. ``FakePlatform`` and
    ``EmbeddedPlatform`` are such.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @property
    def url(self) -> str:
        """The address for clients. It leads to a socket only while ``serving`` serves the platform."""
        return self._backend.url

    @property
    def api_key(self) -> str:
        """The key for clients."""
        return self._backend.api_key

    @property
    def faults(self) -> Faults:
        """What goes wrong; ``faults.add(...)`` lets more go wrong."""
        return self._backend.faults

    @property
    def requests(self) -> RequestLog:
        """The requests so far, with secrets masked."""
        return self._backend.requests

    @property
    def latency(self) -> float:
        """Seconds before each answer. May be changed at any time."""
        return self._backend.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self._backend.latency = seconds

    def settings(self, **changes: Unpack[SettingsArguments]) -> Settings:
        """
        Return settings for a connection to this platform.

        They read no environment and no file: without a journal and a cache of results unless ``changes`` has them, and with
        0.01 s between the first polls of a job.

        Raises:
            ConfigurationError: a value is not valid.
        """
        values: SettingsArguments = {
            "url": self.url,
            "api_key": self.api_key,
            "journal": "off",
            "result_cache": "off",
            "poll_interval_min": 0.01,
        }
        values.update(changes)
        return Settings(**values)

    def connection(self, **changes: Unpack[SettingsArguments]) -> Connection:
        """Return an async connection to this platform, for ``async with``. ``changes`` are settings."""
        from .._client.connection import Connection

        return Connection(settings=self.settings(**changes), transport=self._own_transport())

    def blocking_connection(self, **changes: Unpack[SettingsArguments]) -> sync.Connection:
        """Return a blocking connection to this platform, for ``with``. ``changes`` are settings."""
        from .. import sync

        return sync.Connection(settings=self.settings(**changes), transport=self._own_transport())

    def transport(self) -> HTTPTransport:
        """Return a transport to this platform in memory, for ``Connection(..., transport=...)``. It opens no socket."""
        from .in_memory import InMemoryTransport

        return InMemoryTransport(self._backend)

    def expire_tokens(self) -> None:
        """Let all access tokens expire now: each connection fetches another after its next request."""
        self._backend.expire_tokens()

    def disconnect(self) -> None:
        """Reset all connections of a platform that ``serving`` serves: the next request of each client needs a new one."""
        self._backend.disconnect()

    def _own_transport(self) -> HTTPTransport | None:
        return self.transport() if self.url == IN_MEMORY else None


def backend_of(platform: ScriptedPlatform) -> Backend:
    """Return the part of a platform that a server needs."""
    return platform._backend  # noqa: SLF001 - public names are for tests
