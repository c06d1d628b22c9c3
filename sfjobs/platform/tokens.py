"""
Who is asking: API keys (long-lived, stored as hashes only) and the access tokens they are exchanged for (JWTs of minutes).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import jwt

from .store import Store

_ISSUER: Final = "sfjobs"
_ALGORITHM: Final = "HS256"


def new_api_key() -> str:
    """256 random bits in the characters that every client accepts in a key: letters, digits, ``-`` and ``_``."""
    return secrets.token_urlsafe(32)


def hash_api_key(api_key: str) -> str:
    """What is stored of a key. One round of SHA-256 is enough: a key is random, not a password to be guessed."""
    return hashlib.sha256(api_key.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom a good access token speaks for, and until when, in seconds since 1970."""

    account: str
    expires: float


class Tokens:
    """Access tokens of ``lifetime`` seconds, signed with a secret that the store keeps: they survive a restart."""

    def __init__(self, store: Store, *, lifetime: float = 300.0) -> None:
        self._store = store
        self._secret = store.secret("access-tokens")
        self.lifetime = lifetime
        # Verifying costs more than all else that a ping does, and one token comes with many requests. Only good tokens are
        # kept: what raises is not.
        self._verified = lru_cache(maxsize=1024)(self._verify)

    def account_of_key(self, api_key: str) -> str | None:
        """The account that this API key acts for, None if the key is not good."""
        presented = hash_api_key(api_key)
        known = self._store.key(presented)
        if known is None or not hmac.compare_digest(known.hash, presented):
            return None
        return known.account

    def issue(self, account: str) -> str:
        """A fresh access token for the account."""
        issued = time.time()
        claims = {
            "iss": _ISSUER,
            "sub": account,
            "iat": issued,
            "exp": issued + self.lifetime,
            "jti": secrets.token_hex(8),
        }
        return jwt.encode(claims, self._secret, algorithm=_ALGORITHM)

    def account_of(self, authorization: str) -> str | None:
        """The account that an ``Authorization`` header speaks for, None if it is no good token of ours or has expired."""
        bearer = self.bearer_of(authorization)
        return None if bearer is None else bearer.account

    def bearer_of(self, authorization: str) -> Bearer | None:
        """The same, with the end of the token's life."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            bearer = self._verified(token.strip())
        except jwt.InvalidTokenError:
            return None
        return bearer if bearer.expires > time.time() else None

    def _verify(self, token: str) -> Bearer:
        claims = jwt.decode(
            token,
            self._secret,
            algorithms=[_ALGORITHM],
            issuer=_ISSUER,
            # Expiry is the caller's to check, each time: the library would do it once, and in whole seconds.
            options={"require": ["sub", "exp"], "verify_exp": False, "verify_iat": False},
        )
        return Bearer(str(claims["sub"]), float(claims["exp"]))
