"""
Access tokens: JWTs of some minutes, for which API keys are exchanged. A token names its key, so that it is void as soon as the
key is revoked.
"""

from __future__ import annotations

import logging
import secrets
import sqlite3
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import jwt

from ..store.api_keys import hash_api_key
from ..store.interface import AccountStore

_ISSUER: Final = "sfjobs"
_ALGORITHM: Final = "HS256"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bearer:
    """The account of a valid access token, its end in seconds since 1970, and the id of its key."""

    account: str
    expires: float
    key: str | None = None


class AccessTokens:
    """Access tokens of ``lifetime`` seconds. Their signing secret is stored with the accounts, so they survive a restart."""

    def __init__(self, accounts: AccountStore, *, lifetime: float = 300.0) -> None:
        self._accounts = accounts
        self._secret = accounts.secret("access-tokens")
        self.lifetime = lifetime
        # Verification costs more than all the rest of a ping, and one token comes with many requests. Only valid tokens are
        # cached, since an exception is not.
        self._verified = lru_cache(maxsize=1024)(self._verify)

    async def exchange(self, api_key: str) -> str | None:
        """Return a new access token for an API key, None if the key is unknown or revoked."""
        # The index of the store compares hashes, whose timing shows nothing of a key.
        key = self._accounts.key(hash_api_key(api_key))
        if key is None:
            return None
        try:
            await self._accounts.record_use(key)
        except sqlite3.Error as error:  # a full disk must not lock clients out
            _log.error("the use of the key '%s' could not be recorded: %s", key.name, error)
        return self.issue(key.account, key=key.id)

    def issue(self, account: str, *, key: str | None = None) -> str:
        """Return a new access token for the account. It ends when the key with this id is revoked, or with its lifetime."""
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
        """Return the bearer of an ``Authorization`` header, None if its token is missing, invalid or expired."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            bearer = self._verified(token.strip())
        except jwt.InvalidTokenError:
            return None
        return bearer if self.is_valid(bearer) else None

    def is_valid(self, bearer: Bearer) -> bool:
        """Return whether a token that was valid still is: it has not expired, and its key has not been revoked."""
        return bearer.expires > time.time() and (bearer.key is None or self._accounts.is_key_active(bearer.key))

    def _verify(self, token: str) -> Bearer:
        claims = jwt.decode(
            token,
            self._secret,
            algorithms=[_ALGORITHM],
            issuer=_ISSUER,
            # The caller checks the expiry each time; the library would check it once, and in whole seconds.
            options={"require": ["sub", "exp"], "verify_exp": False, "verify_iat": False},
        )
        return Bearer(str(claims["sub"]), float(claims["exp"]), claims.get("key"))
