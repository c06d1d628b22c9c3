"""Commands run in an empty folder without settings; with ``configured`` they use the platform."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfjobs.platform import Platform
from tests.support.commands import PROGRAM


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a script, and a home for settings and results; 80 columns and one attempt a request."""
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("SFJOBS_RETRIES", "1")
    monkeypatch.setenv("SFJOBS_POLL_INTERVAL_MIN", "0.05")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo.xbb").write_text(PROGRAM)
    return tmp_path


@pytest.fixture
def configured(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """The platform, which the settings of commands name."""
    monkeypatch.setenv("SFJOBS_URL", platform.url)
    monkeypatch.setenv("SFJOBS_API_KEY", platform.api_key)
    return platform
