"""
The fixtures of pytest. pytest finds them by the entry point of the package, so a test file need not import anything.

At the start of pytest this module is imported, and nothing else of sfjobs: the rest is loaded when a fixture is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .. import sync
    from .._client.connection import Connection
    from .fake_platform import FakePlatform

CONFIGURE_CLIENTS = ("SFJOBS_", "XANADU_CLOUD_", "SF_")
FOLDERS = (
    "HOME",
    "USERPROFILE",
    "APPDATA",
    "LOCALAPPDATA",
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
    "XDG_CACHE_HOME",
    "XDG_DATA_HOME",
)
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture
def sfjobs_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """
    An environment without the settings, keys, journal and cache of the user. Returns the folder that has them instead.

    It lasts for one test, and child processes inherit it. The home folder, where sfjobs and other clients look for files, is
    that folder, too. Proxies of the environment are not used.
    """
    folder = tmp_path / "sfjobs"
    folder.mkdir()
    for name in list(os.environ):
        if name.upper().startswith(CONFIGURE_CLIENTS) or name.upper() in PROXIES:
            monkeypatch.delenv(name)
    for name in FOLDERS:
        monkeypatch.setenv(name, str(folder))
    config = folder / "config.toml"
    config.touch(mode=0o600)
    monkeypatch.setenv("SFJOBS_CONFIG", str(config))
    monkeypatch.setenv("SFJOBS_JOURNAL", str(folder / "journal.db"))
    return folder


@pytest.fixture
def sfjobs_platform(
    sfjobs_environment: Path,  # noqa: ARG001 - which comes first
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[FakePlatform]:
    """
    A ``FakePlatform`` that listens on this machine, for one test. ``SFJOBS_URL`` and ``SFJOBS_API_KEY`` lead to it.

    So a plain ``sfjobs.Connection()`` in the program under test, and any command that it starts, reach this platform.
    """
    from .served import serving

    with serving() as platform:
        monkeypatch.setenv("SFJOBS_URL", platform.url)
        monkeypatch.setenv("SFJOBS_API_KEY", platform.api_key)
        yield platform


@pytest.fixture
def sfjobs_connection(sfjobs_platform: FakePlatform) -> Iterator[sync.Connection]:
    """A blocking connection to ``sfjobs_platform``, with short pauses between polls. It is closed after the test."""
    with sfjobs_platform.blocking_connection() as connection:
        yield connection


@pytest.fixture
def sfjobs_async_connection(sfjobs_platform: FakePlatform) -> Iterator[Connection]:
    """
    An async connection to ``sfjobs_platform``, for a test that is a coroutine. It is closed after the test.

    Such a test needs a plugin that runs it: the one of anyio is installed with sfjobs, ``@pytest.mark.anyio`` selects it.
    """
    import anyio

    connection = sfjobs_platform.connection()
    yield connection
    anyio.run(connection.aclose)
