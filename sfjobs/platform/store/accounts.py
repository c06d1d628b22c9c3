"""
Whose the jobs are: accounts, and the API keys that act for them, of which the file holds only hashes. ``Store`` adds the jobs;
``sfjobs platform keys`` opens this part alone, also while a platform runs on the same file, and what it revokes is void at once.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from ...errors import ConfigurationError
from ..records import KeyRecord
from ..settings import PlatformSettings, make_folder
from . import schema
from .database import Database

LOCAL: Final = "local"
"""The account, and the name of the key, of whoever starts a platform: that key is made at the first start, not on purpose."""

USE_NOTED_EVERY: Final = 3600 * 1_000_000
"""Microseconds: how coarse the time is at which a key was last used, so that using it costs no write."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_KEYS: Final = (
    "SELECT keys.id, hash, keys.name, account, accounts.name AS account_name, keys.created, used, revoked"
    " FROM keys JOIN accounts ON accounts.id = account"
)


def now() -> int:
    """Microseconds since 1970, UTC."""
    return time.time_ns() // 1000


class Accounts:
    """The accounts and keys in a database file, which is made if there is none. Reads show what is committed."""

    def __init__(self, path: Path) -> None:
        try:
            self._database = Database(path, schema.TABLES)
        except (sqlite3.DatabaseError, OSError) as error:
            raise ConfigurationError(f"{path} cannot be opened as the platform's database: {error}") from error
        try:
            self._database.write_blocking(lambda db: schema.upgrade(db, path))
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Finish the pending writes and close the file."""
        self._database.close()

    def secret(self, name: str) -> str:
        """A random secret of this store, made at first use; the same after a restart."""

        def operation(db: sqlite3.Connection) -> str:
            db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (f"secret:{name}", secrets.token_urlsafe(48)))
            value: str = db.execute("SELECT value FROM meta WHERE key = ?", (f"secret:{name}",)).fetchone()[0]
            return value

        return self._database.write_blocking(operation)

    def ensure_account(self, name: str) -> str:
        """The id of the account with this name, which is made if there is none."""

        def operation(db: sqlite3.Connection) -> str:
            db.execute(
                "INSERT OR IGNORE INTO accounts (id, name, created) VALUES (?, ?, ?)", (str(uuid.uuid4()), name, now())
            )
            value: str = db.execute("SELECT id FROM accounts WHERE name = ?", (name,)).fetchone()[0]
            return value

        return self._database.write_blocking(operation)

    def make_key(self, name: str, account: str) -> str:
        """
        A new API key that acts for the account with this name, which is made if there is none. Nobody can read it again. Raises
        ``ConfigurationError`` for what cannot be a name, and for that of a key there is.
        """
        if is_reserved(_checked_name(name)):
            message = f"'{name}' is what the key of a platform's first start is called: choose another name"
            raise ConfigurationError(message)
        api_key = new_api_key()
        self.add_key(self.ensure_account(_checked_name(account)), hash_api_key(api_key), name=name)
        return api_key

    def add_key(self, account: str, key_hash: str, *, name: str = LOCAL) -> None:
        """
        Let the API key with this hash act for the account; one that is known already stays as it is, and revoked if it is.
        Raises ``ConfigurationError`` if another key that is good has the name.
        """

        def operation(db: sqlite3.Connection) -> None:
            if db.execute("SELECT 1 FROM keys WHERE hash = ?", (key_hash,)).fetchone() is None:
                values = (secrets.token_hex(8), key_hash, name, account, now())
                db.execute("INSERT INTO keys (id, hash, name, account, created) VALUES (?, ?, ?, ?, ?)", values)

        try:
            self._database.write_blocking(operation)
        except sqlite3.IntegrityError as error:
            raise ConfigurationError(f"there is a key '{name}' already: revoke it, or choose another name") from error

    def key(self, key_hash: str) -> KeyRecord | None:
        """The API key with this hash, if it is good."""
        rows = self._database.read(f"{_KEYS} WHERE hash = ? AND revoked IS NULL", (key_hash,))
        return KeyRecord(**rows[0]) if rows else None

    def api_keys(self) -> list[KeyRecord]:
        """All keys that there have been, oldest first, revoked ones too."""
        return [KeyRecord(**row) for row in self._database.read(f"{_KEYS} ORDER BY keys.created, keys.id")]

    def is_good(self, key_id: str) -> bool:
        """Whether the key with this id has not been revoked."""
        return bool(self._database.read("SELECT 1 FROM keys WHERE id = ? AND revoked IS NULL", (key_id,)))

    def revoke_key(self, name: str) -> bool:
        """Let the key with this name in no more, nor the access tokens it was exchanged for. False if no good key has it."""
        query = "UPDATE keys SET revoked = ? WHERE name = ? AND revoked IS NULL"
        return bool(self._database.write_blocking(lambda db: db.execute(query, (now(), name)).rowcount))

    async def note_use(self, key: KeyRecord) -> None:
        """Write down that the key was used, unless that was said within ``USE_NOTED_EVERY``."""
        time = now()
        if key.used is None or key.used <= time - USE_NOTED_EVERY:
            query = "UPDATE keys SET used = ? WHERE id = ?"
            await self._database.write(lambda db: db.execute(query, (time, key.id)).rowcount)

    @property
    def has_keys_made_on_purpose(self) -> bool:
        """Whether anyone is let in besides whoever can read the file of the first start's key."""
        return any(key.revoked is None and not is_reserved(key.name) for key in self.api_keys())


@contextmanager
def accounts_of(data_dir: Path, *, make: bool = False) -> Iterator[Accounts]:
    """
    The accounts of the platform with this data directory, whether it runs or not. Raises ``ConfigurationError`` if there is none
    yet, unless it is to be made.
    """
    settings = PlatformSettings(data_dir=data_dir)
    try:
        if make:
            make_folder(settings.data_dir)
        elif not settings.database.exists():
            raise ConfigurationError(f"there is no platform in {data_dir}")
        accounts = Accounts(settings.database)
    except OSError as error:
        raise ConfigurationError(f"the data directory {data_dir} cannot be used: {error}") from error
    with closing(accounts):
        yield accounts


def new_api_key() -> str:
    """256 random bits in the characters that every client accepts in a key: letters, digits, ``-`` and ``_``."""
    return secrets.token_urlsafe(32)


def hash_api_key(api_key: str) -> str:
    """What is stored of a key. One round of SHA-256 is enough: a key is random, not a password to be guessed."""
    return hashlib.sha256(api_key.encode()).hexdigest()


def is_reserved(name: str) -> bool:
    """Whether this is what the key of a first start is called."""
    return re.fullmatch(rf"{LOCAL}(-\d+)?", name) is not None


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        message = f"'{name}' cannot be a name: 1 to 64 letters, digits and any of . _ @ -, the first a letter or digit"
        raise ConfigurationError(message)
    return name
