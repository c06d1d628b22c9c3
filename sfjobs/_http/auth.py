"""
A usable access token, fetched once for all who ask. ``transport`` asks for it before it takes a
connection, and hands in how a request is sent, so nothing here knows HTTP clients.

No lock is held while a request is under way: a hundred requests that meet an expired token make one token request and then
all go on together. An ``httpx.Auth`` flow, the usual place for this, would ask for the token while it holds a connection of
the pool: with every connection held that way the token request would wait for ever.
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
    """An access token and how long it lives, in seconds from now; infinitely where the platform did not say."""

    secret: Secret
    lifetime: float = math.inf


class TokenSource:
    """The access token of one connection. ``fetch`` gets a new one and is never called twice at the same time."""

    def __init__(self, fetch: Callable[[], Awaitable[Token]], *, initial: Secret | None = None) -> None:
        self._fetch = fetch
        self._current = initial
        self._stale_at = math.inf
        self._lock = anyio.Lock()
        self._round = 0
        self._failure: SFJobsError | None = None

    @property
    def current(self) -> Secret | None:
        """The token at hand, whether or not it is still good."""
        return self._current

    async def get(self, *, rejected: Secret | None = None) -> Secret:
        """
        A token that is not about to expire and is not ``rejected``, which the platform has just answered with 401. All who
        ask while one fetch is under way share its outcome, a failure as a copy each. When the one who fetches is cancelled,
        the next in line fetches.
        """
        token = self._usable(rejected)
        if token is not None:
            return token
        seen = self._round
        async with self._lock:
            token = self._usable(rejected)
            if token is not None:
                return token
            if self._round != seen and self._failure is not None:
                raise copy.copy(self._failure) from self._failure
            return await self._renew()

    async def _renew(self) -> Secret:
        try:
            fetched = await self._fetch()
        except SFJobsError as error:
            self._failure = error
            self._round += 1
            raise
        self._failure = None
        self._round += 1
        self._current = fetched.secret
        # Renewed a little early, so that a request under way does not outlive its token.
        self._stale_at = anyio.current_time() + fetched.lifetime - min(30.0, fetched.lifetime / 10)
        return fetched.secret

    def _usable(self, rejected: Secret | None) -> Secret | None:
        if self._current is None or self._current is rejected or anyio.current_time() >= self._stale_at:
            return None
        return self._current


def token_request(settings: Settings) -> Request:
    """The request for a new access token; AuthenticationError when there is no API key to ask with."""
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
        lane="poll",
    )


def read_token(settings: Settings, answer: Response) -> Token:
    """The token of the platform's answer; AuthenticationError when it refused the API key."""
    if answer.status_code in (400, 401):
        raise _refused(settings, "api_key", f"{answer.url} refused the API key")
    answer.check_status()
    text, lifetime = answer.parse(wire.access_token)
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
