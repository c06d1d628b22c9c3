"""
An API key that lies in the keyring of this system (package ``keyring``, which is imported when a key is really wanted). It is
kept under the url that it belongs to, so that a profile whose url is changed does not send it to another host.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Protocol, cast

from ..errors import ConfigurationError
from .secret import Secret
from .values import problem


class _Backend(Protocol):
    def get_password(self, service: str, username: str) -> str | None: ...

    def set_password(self, service: str, username: str, password: str) -> None: ...


@dataclass(frozen=True, slots=True)
class KeyringEntry:
    """Where in the keyring the key of a profile lies."""

    url: str
    profile: str

    @property
    def service(self) -> str:
        """What keyring calls the service; its user name is the profile's name."""
        return f"sfjobs {self.url}"

    def fetch(self) -> Secret:
        """The key. Raises ConfigurationError when the keyring is not installed, is locked or has none."""
        backend, reason = _backend(), ""
        try:
            key = Secret.wrap(backend.get_password(self.service, self.profile))
        except Exception as error:  # noqa: BLE001 - each backend raises its own, and all of it goes into the message
            key, reason = None, f": {type(error).__name__}: {error}"
        if key is None:
            what = f"The keyring gives no API key for {self.url} (profile {self.profile!r}){reason}"
            raise problem(what, "Store it by `sfjobs login --keyring`, or set SFJOBS_API_KEY")
        return key

    def store(self, key: Secret) -> None:
        """Puts the key there, in place of an older one. Raises ConfigurationError when that cannot be done."""
        failure = self._try_to_store(_backend(), key)
        if failure:
            what = f"The keyring does not take the API key for {self.url}: {failure}"
            raise problem(what, "Unlock or configure it (`keyring diagnose`), or leave --keyring out")

    def _try_to_store(self, backend: _Backend, key: Secret) -> str:
        # The error leaves as a word: in flight it would take the frames along that have the key, and its text may quote it.
        try:
            backend.set_password(self.service, self.profile, key.reveal())
        except Exception as error:  # noqa: BLE001 - each backend raises its own
            return type(error).__name__
        return ""


def check_keyring() -> None:
    """Raises ConfigurationError when the package ``keyring`` is not installed."""
    _backend()


def _backend() -> _Backend:
    try:
        return cast("_Backend", importlib.import_module("keyring"))
    except ModuleNotFoundError:
        raise _missing() from None


def _missing() -> ConfigurationError:
    return problem("The package keyring, which would hold the API key, is not installed", "pip install keyring")
