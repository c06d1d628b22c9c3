"""API keys and their names: how they are created, hashed and checked, in the same way for every store."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final

from ...errors import ConfigurationError
from .interface import AccountStore

LOCAL: Final = "local"
"""The name of the account, and of the key, that the first start of a platform creates."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_LOCAL_NAME: Final = re.compile(rf"{LOCAL}(-\d+)?")


def create_key(accounts: AccountStore, name: str, account: str) -> str:
    """
    Create an API key for the account with this name, which is created if necessary. The key cannot be read again.

    Raises:
        ConfigurationError: the name or the account's name is not valid, or an active key has the name.
    """
    for text in (name, account):
        if not _NAME.fullmatch(text):
            message = (
                f"'{text}' cannot be a name: 1 to 64 letters, digits and any of . _ @ -, the first a letter or digit"
            )
            raise ConfigurationError(message)
    if _LOCAL_NAME.fullmatch(name):
        raise ConfigurationError(f"'{name}' is the name of the key of a platform's first start: choose another name")
    api_key = new_api_key()
    accounts.add_key(accounts.ensure_account(account), hash_api_key(api_key), name=name)
    return api_key


def has_created_key(accounts: AccountStore) -> bool:
    """Return whether an active key exists besides that of the first start, which lies in a file."""
    return any(key.revoked is None and not _LOCAL_NAME.fullmatch(key.name) for key in accounts.api_keys())


def new_api_key() -> str:
    """Return 256 random bits in the characters that every client accepts in a key: letters, digits, ``-`` and ``_``."""
    return secrets.token_urlsafe(32)


def hash_api_key(api_key: str) -> str:
    """Return what is stored of a key. One round of SHA-256 is enough: a key is random, not a password to be guessed."""
    return hashlib.sha256(api_key.encode()).hexdigest()
