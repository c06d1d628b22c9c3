"""
Accounts and API keys in the platform's SQLite file. ``sfjobs platform keys`` opens this part alone, also while a platform runs on
the same file; a key that it revokes is void at once.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from ....errors import ConfigurationError
from ...private_files import make_folder
from ...records import KeyRecord, SigningSecret
from ...settings import PlatformSettings, locked_data_dir
from .database import Database
from .migration import migrate, needs_migration
from .pauses import SQLitePauses

USE_RESOLUTION_MICROSECONDS: Final = 3600 * 1_000_000
"""How exactly the last use of a key is known. A use within this time of the last one costs no write."""

_KEYS: Final = (
    "SELECT keys.id, hash, keys.name, account, accounts.name AS account_name, keys.created, used, revoked"
    " FROM keys JOIN accounts ON accounts.id = account"
)


_SIGNING: Final = "secret:access-tokens"
_SIGNED_BEFORE: Final = "secret:access-tokens before"


def _secret_id(value: str) -> str:
    """Return the ``kid`` of a secret: 64 of its 384 bits, hashed."""
    return hashlib.sha256(value.encode()).hexdigest()[:16]


def now() -> int:
    """Return microseconds since 1970, UTC."""
    return time.time_ns() // 1000


class SQLiteAccounts(SQLitePauses):
    """
    An ``OperatorStore`` in a database file, which is created or migrated if necessary. The caller holds the lock of the data
    directory if the file may need a migration.
    """

    def __init__(self, path: Path) -> None:
        try:
            migrate(path)
            self._database = Database(path)
        except (sqlite3.DatabaseError, OSError) as error:
            raise ConfigurationError(f"{path} cannot be opened as the platform's database: {error}") from error

    def close(self) -> None:
        """Finish the pending writes and close the file."""
        self._database.close()

    def secret(self, name: str) -> str:
        insert = "INSERT OR IGNORE INTO meta VALUES (?, ?)"
        select = "SELECT value FROM meta WHERE key = ?"
        return self._ensure(insert, (f"secret:{name}", secrets.token_urlsafe(48)), select, f"secret:{name}")

    def signing_secrets(self) -> list[SigningSecret]:
        current = self._database.read("SELECT value FROM meta WHERE key = ?", (_SIGNING,))
        if not current:  # the first start
            self.secret("access-tokens")
            return self.signing_secrets()
        found = [SigningSecret(id=_secret_id(current[0][0]), value=current[0][0])]
        for (text,) in self._database.read("SELECT value FROM meta WHERE key = ?", (_SIGNED_BEFORE,)):
            value, replaced = json.loads(text)
            found.append(SigningSecret(id=_secret_id(value), value=value, replaced=replaced))
        return found

    def replace_signing_secret(self, *, at_once: bool = False) -> SigningSecret:
        before, value = self.secret("access-tokens"), secrets.token_urlsafe(48)

        def operation(db: sqlite3.Connection) -> None:
            db.execute("UPDATE meta SET value = ? WHERE key = ?", (value, _SIGNING))
            db.execute("DELETE FROM meta WHERE key = ?", (_SIGNED_BEFORE,))
            if not at_once:
                db.execute("INSERT INTO meta VALUES (?, ?)", (_SIGNED_BEFORE, json.dumps([before, now()])))

        self._database.write_blocking(operation)
        return SigningSecret(id=_secret_id(value), value=value)

    def ensure_account(self, name: str) -> str:
        insert = "INSERT OR IGNORE INTO accounts (id, name, created) VALUES (?, ?, ?)"
        select = "SELECT id FROM accounts WHERE name = ?"
        return self._ensure(insert, (str(uuid.uuid4()), name, now()), select, name)

    def _ensure(self, insert: str, values: tuple[str | int, ...], select: str, key: str) -> str:
        def operation(db: sqlite3.Connection) -> str:
            db.execute(insert, values)
            return str(db.execute(select, (key,)).fetchone()[0])

        return self._database.write_blocking(operation)

    def add_key(self, account: str, key_hash: str, *, name: str) -> None:
        def operation(db: sqlite3.Connection) -> None:
            if db.execute("SELECT 1 FROM keys WHERE hash = ?", (key_hash,)).fetchone() is None:
                values = (secrets.token_hex(8), key_hash, name, account, now())
                db.execute("INSERT INTO keys (id, hash, name, account, created) VALUES (?, ?, ?, ?, ?)", values)

        try:
            self._database.write_blocking(operation)
        except sqlite3.IntegrityError as error:
            raise ConfigurationError(f"there is a key '{name}' already: revoke it, or choose another name") from error

    def key(self, key_hash: str) -> KeyRecord | None:
        rows = self._database.read(f"{_KEYS} WHERE hash = ? AND revoked IS NULL", (key_hash,))
        return KeyRecord(**rows[0]) if rows else None

    def api_keys(self) -> list[KeyRecord]:
        return [KeyRecord(**row) for row in self._database.read(f"{_KEYS} ORDER BY keys.created, keys.id")]

    def is_key_active(self, key_id: str) -> bool:
        return bool(self._database.read("SELECT 1 FROM keys WHERE id = ? AND revoked IS NULL", (key_id,)))

    def revoke_key(self, name: str) -> bool:
        query = "UPDATE keys SET revoked = ? WHERE name = ? AND revoked IS NULL"
        return bool(self._database.write_blocking(lambda db: db.execute(query, (now(), name)).rowcount))

    async def record_use(self, key: KeyRecord) -> None:
        used = now()
        if key.used is None or key.used <= used - USE_RESOLUTION_MICROSECONDS:
            query = "UPDATE keys SET used = ? WHERE id = ?"
            await self._database.write(lambda db: db.execute(query, (used, key.id)).rowcount)


@contextmanager
def open_accounts(data_dir: Path, *, create: bool = False) -> Iterator[SQLiteAccounts]:
    """
    Open the accounts of the platform with this data directory, whether it runs or not.

    Raises:
        ConfigurationError: the directory has no platform and ``create`` is false, it cannot be used, or it must be migrated and
            a platform of an earlier version runs on it.
    """
    settings = PlatformSettings(data_dir=data_dir)
    try:
        if create:
            make_folder(settings.data_dir)
        elif not settings.database.exists():
            raise ConfigurationError(f"there is no platform in {data_dir}")
        if needs_migration(settings.database):
            with locked_data_dir(settings):
                accounts = SQLiteAccounts(settings.database)
        else:
            accounts = SQLiteAccounts(settings.database)
    except OSError as error:
        raise ConfigurationError(f"the data directory {data_dir} cannot be used: {error}") from error
    with closing(accounts):
        yield accounts
