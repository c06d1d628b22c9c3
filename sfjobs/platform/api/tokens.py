"""
Access tokens: JWTs of some minutes, for which API keys are exchanged. A token names its key, so that it is void as soon as the
key is revoked, and the secret that signed it (``kid``), so that the secret can be replaced while the platform runs.
"""

from __future__ import annotations

import logging
import math
import secrets
import sqlite3
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import jwt

from ..records import SigningSecret
from ..store.api_keys import hash_api_key
from ..store.interface import AccountStore

_ISSUER: Final = "sfjobs"
_ALGORITHM: Final = "HS256"
_SECRETS_READ_SECONDS: Final = 1.0
"""After this time the secrets are read again, since the command that replaces them is another process."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bearer:
    """The account of a valid access token, its end in seconds since 1970, and the ids of its key and of its signing secret."""

    account: str
    expires: float
    key: str
    secret: str


class AccessTokens:
    """Access tokens of ``lifetime`` seconds. Their signing secrets are stored with the accounts, so they survive a restart."""

    def __init__(self, accounts: AccountStore, *, lifetime: float = 300.0) -> None:
        self._accounts = accounts
        self._secrets: dict[str, SigningSecret] = {}
        self._read_at = -math.inf
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

    def issue(self, account: str, *, key: str) -> str:
        """Return a new access token for the account. It ends when the key with this id is revoked, or with its lifetime."""
        issued = time.time()
        claims = {
            "iss": _ISSUER,
            "sub": account,
            "iat": issued,
            "exp": issued + self.lifetime,
            "jti": secrets.token_hex(8),
            "key": key,
        }
        self._read_secrets()  # a secret may have leaked, and have been replaced a moment ago
        secret = next(secret for secret in self._secrets.values() if secret.replaced is None)
        return jwt.encode(claims, secret.value, algorithm=_ALGORITHM, headers={"kid": secret.id})

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
        return bearer.expires > time.time() and not self.is_revoked(bearer)

    def is_revoked(self, bearer: Bearer) -> bool:
        """Return whether the key of a token, or the secret that signed it, has been revoked."""
        return self._secret(bearer.secret) is None or not self._accounts.is_key_active(bearer.key)

    def _secret(self, kid: str) -> SigningSecret | None:
        """Return the secret with this id while its tokens are valid: until the last that it can have signed has expired."""
        if time.monotonic() - self._read_at > _SECRETS_READ_SECONDS:
            self._read_secrets()
        secret = self._secrets.get(kid)
        if secret is None or secret.replaced is None or secret.replaced / 1e6 + self.lifetime > time.time():
            return secret
        return None

    def _read_secrets(self) -> None:
        self._secrets = {secret.id: secret for secret in self._accounts.signing_secrets()}
        self._read_at = time.monotonic()

    def _verify(self, token: str) -> Bearer:
        kid = jwt.get_unverified_header(token).get("kid")
        secret = self._secret(kid) if isinstance(kid, str) else None
        if secret is None:
            raise jwt.InvalidTokenError("the token names no signing secret of this platform")
        claims = jwt.decode(
            token,
            secret.value,
            algorithms=[_ALGORITHM],
            issuer=_ISSUER,
            # The caller checks the expiry each time; the library would check it once, and in whole seconds.
            options={"require": ["sub", "exp", "key"], "verify_exp": False, "verify_iat": False},
        )
        return Bearer(str(claims["sub"]), float(claims["exp"]), str(claims["key"]), secret.id)
