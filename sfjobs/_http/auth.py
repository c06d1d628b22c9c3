"""
The access token of a connection. ``transport`` passes in how a request is sent, so nothing here knows HTTP clients.

No lock is held during a request: a hundred requests with an expired token make one token request and then all continue. An
``httpx.Auth`` flow, the usual place for this, would fetch the token while it holds a connection of the pool: with every
connection held that way, the token request would wait forever.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlencode

import anyio

from .._protocol import wire
from ..config import Secret, Settings
from ..errors import AuthenticationError, SFJobsError
from .messages import Request, Response

TOKEN_PATH = "/auth/realms/platform/protocol/openid-connect/token"  # noqa: S105 - a path, not a password


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and its lifetime in seconds from now, infinite where the platform names none."""

    secret: Secret
    lifetime: float = math.inf


class TokenSource:
    """The access token of one connection. ``fetch`` gets a new one and never runs twice at the same time."""

    def __init__(self, fetch: Callable[[], Awaitable[Token]], *, initial: Secret | None = None) -> None:
        self._fetch = fetch
        self._current = initial
        self._renew_at = math.inf
        self._lock = anyio.Lock()
        self._fetches = 0
        self._failure: SFJobsError | None = None

    @property
    def current(self) -> Secret | None:
        """The latest token, which may have expired."""
        return self._current

    async def get(self, *, rejected: Secret | None = None) -> Secret:
        """
        Return a token that is not about to expire and is not ``rejected``, the one of a 401 response. Concurrent callers share
        one fetch and its outcome, a failure as a copy each. When the fetching task is cancelled, the next one fetches.
        """
        token = self._usable(rejected)
        if token is not None:
            return token
        fetches = self._fetches
        async with self._lock:
            token = self._usable(rejected)
            if token is not None:
                return token
            if self._fetches != fetches and self._failure is not None:
                raise copy.copy(self._failure) from self._failure
            return await self._renew()

    async def _renew(self) -> Secret:
        try:
            fetched = await self._fetch()
        except SFJobsError as error:
            self._failure = error
            self._fetches += 1
            raise
        self._failure = None
        self._fetches += 1
        self._current = fetched.secret
        # Renewed early, so that a request in flight does not outlive its token.
        self._renew_at = anyio.current_time() + fetched.lifetime - min(30.0, fetched.lifetime / 10)
        return fetched.secret

    def _usable(self, rejected: Secret | None) -> Secret | None:
        if self._current is None or self._current is rejected or anyio.current_time() >= self._renew_at:
            return None
        return self._current


def token_request(settings: Settings) -> Request:
    """Return the request for a new access token. Raises AuthenticationError without an API key."""
    if settings.api_key is None:
        raise _refused(
            settings, "access_token", "the access token has expired or is wrong, and there is no api_key to renew it"
        )
    form = {"grant_type": "refresh_token", "refresh_token": settings.api_key.reveal(), "client_id": "public"}
    return Request(
        method="POST",
        path=TOKEN_PATH,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        content=urlencode(form).encode(),
        lane="query",
    )


def read_token(settings: Settings, response: Response) -> Token:
    """Return the token of the platform's response. Raises AuthenticationError if the API key was refused."""
    if response.status_code in (400, 401):
        raise _refused(settings, "api_key", f"{response.url} refused the API key")
    response.check_status()
    text, lifetime = response.parse(wire.access_token)
    return Token(Secret(text), math.inf if lifetime is None else lifetime)


def _refused(settings: Settings, setting: str, reason: str) -> AuthenticationError:
    source = settings.sources.get(setting, "not set")
    return AuthenticationError(
        f"{reason}: look at the setting {setting} (from: {source})",
        method="POST",
        url=settings.url + TOKEN_PATH,
        status_code=401,
        code="unauthenticated",
        detail=reason,
    )
