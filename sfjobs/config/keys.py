"""
An API key in the system's keyring (package ``keyring``, imported on first use). It is stored under its url, so that a profile
whose url was changed does not send it to another host.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Protocol, cast

from .secret import Secret
from .values import problem


class _Backend(Protocol):
    def get_password(self, service: str, username: str) -> str | None: ...

    def set_password(self, service: str, username: str, password: str) -> None: ...


@dataclass(frozen=True, slots=True)
class KeyringEntry:
    """The place of a profile's key in the keyring."""

    url: str
    profile: str

    @property
    def service(self) -> str:
        """The service name in the keyring; the user name is the profile's name."""
        return f"sfjobs {self.url}"

    def fetch(self) -> Secret:
        """Return the key. Raises ConfigurationError if the keyring is not installed, is locked or has no such key."""
        backend, reason = _backend(), ""
        try:
            key = Secret.wrap(backend.get_password(self.service, self.profile))
        except Exception as error:  # noqa: BLE001 - backends raise errors of their own, which the message names
            key, reason = None, f": {type(error).__name__}: {error}"
        if key is None:
            what = f"The keyring gives no API key for {self.url} (profile {self.profile!r}){reason}"
            raise problem(what, "Store it with `sfjobs login --keyring`, or set SFJOBS_API_KEY")
        return key

    def store(self, key: Secret) -> None:
        """Store the key, replacing an older one. Raises ConfigurationError if the keyring refuses it."""
        failure = self._try_to_store(_backend(), key)
        if failure:
            what = f"The keyring refused the API key for {self.url}: {failure}"
            raise problem(what, "Unlock or configure it (`keyring diagnose`), or leave --keyring out")

    def _try_to_store(self, backend: _Backend, key: Secret) -> str:
        # The error is returned as a word: an exception would carry frames that hold the key, and its text may quote it.
        try:
            backend.set_password(self.service, self.profile, key.reveal())
        except Exception as error:  # noqa: BLE001 - backends raise errors of their own
            return type(error).__name__
        return ""


def check_keyring() -> None:
    """Raise ConfigurationError if the package ``keyring`` is not installed."""
    _backend()


def _backend() -> _Backend:
    try:
        return cast("_Backend", importlib.import_module("keyring"))
    except ModuleNotFoundError:
        raise problem("The package keyring, which holds the API key, is not installed", "pip install keyring") from None
