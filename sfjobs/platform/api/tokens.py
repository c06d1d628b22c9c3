"""
Who is asking: API keys (long-lived, stored as hashes only) and the access tokens they are exchanged for (JWTs of minutes). A
token names its key, so that it is void as soon as the key is revoked.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import sqlite3
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import jwt

from ..store.accounts import Accounts, hash_api_key

_ISSUER: Final = "sfjobs"
_ALGORITHM: Final = "HS256"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom an access token of ours speaks for, until when, in seconds since 1970, and the id of the key it was given for."""

    account: str
    expires: float
    key: str | None = None


class AccessTokens:
    """Access tokens of ``lifetime`` seconds, signed with a secret that is kept with the accounts: they survive a restart."""

    def __init__(self, accounts: Accounts, *, lifetime: float = 300.0) -> None:
        self._accounts = accounts
        self._secret = accounts.secret("access-tokens")
        self.lifetime = lifetime
        # Verifying costs more than all else that a ping does, and one token comes with many requests. Only good tokens are
        # kept: what raises is not.
        self._verified = lru_cache(maxsize=1024)(self._verify)

    async def exchange(self, api_key: str) -> str | None:
        """A fresh access token for whoever has this API key, None if the key is not good."""
        presented = hash_api_key(api_key)
        known = self._accounts.key(presented)
        # Its bytes were compared by an index already, but those of a hash: timing that tells nothing about a key.
        if known is None or not hmac.compare_digest(known.hash, presented):
            return None
        try:
            await self._accounts.note_use(known)
        except sqlite3.Error as error:  # a full disk must not lock anyone out
            _log.error("it cannot be written down that the key '%s' was used: %s", known.name, error)
        return self.issue(known.account, key=known.id)

    def issue(self, account: str, *, key: str | None = None) -> str:
        """A fresh access token for the account. It is void when the key with this id is; without one only its time ends it."""
        issued = time.time()
        claims = {
            "iss": _ISSUER,
            "sub": account,
            "iat": issued,
            "exp": issued + self.lifetime,
            "jti": secrets.token_hex(8),
        }
        if key is not None:
            claims["key"] = key
        return jwt.encode(claims, self._secret, algorithm=_ALGORITHM)

    def bearer_of(self, authorization: str) -> Bearer | None:
        """Whom an ``Authorization`` header speaks for, None if it has no token of ours or one that is good no more."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            bearer = self._verified(token.strip())
        except jwt.InvalidTokenError:
            return None
        return bearer if self.is_good(bearer) else None

    def is_good(self, bearer: Bearer) -> bool:
        """Whether a token that was good still is: its time has not ended, and its key has not been revoked."""
        return bearer.expires > time.time() and (bearer.key is None or self._accounts.is_good(bearer.key))

    def _verify(self, token: str) -> Bearer:
        claims = jwt.decode(
            token,
            self._secret,
            algorithms=[_ALGORITHM],
            issuer=_ISSUER,
            # Expiry is the caller's to check, each time: the library would do it once, and in whole seconds.
            options={"require": ["sub", "exp"], "verify_exp": False, "verify_iat": False},
        )
        return Bearer(str(claims["sub"]), float(claims["exp"]), claims.get("key"))
