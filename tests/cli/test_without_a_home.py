"""Commands of a user without a home, as in a container: they work, or say what to name in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfjobs._journal import session
from sfjobs.cli.application import run
from sfjobs.platform import Platform
from tests.support.commands import PROGRAM

pytestmark = pytest.mark.real_time


@pytest.fixture(params=["nobody", "nonexistent", "a file", "relative"], autouse=True)
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The kinds of homes in which no folder of ours can be."""
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "SFJOBS_JOURNAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(session, "_warned", {})
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    homes = {"nonexistent": "/nonexistent", "a file": str(tmp_path / "file"), "relative": "somewhere"}
    if request.param in homes:
        monkeypatch.setenv("HOME", homes[request.param])
    return str(request.param)


@pytest.fixture
def _configured(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFJOBS_URL", platform.url)
    monkeypatch.setenv("SFJOBS_API_KEY", platform.api_key)


@pytest.mark.usefixtures("_configured")
@pytest.mark.parametrize("command", ["submit p.xbb", "run p.xbb --json", "run p.xbb --output r.npz"])
def test_submitting_works_after_one_warning(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "p.xbb").write_text(PROGRAM)
    assert run(command.split()) == 0, capsys.readouterr().err
    [warning] = [message for message in caplog.messages if "journal" in message]
    assert "Submissions go on" in warning
    assert not (tmp_path / "somewhere").exists()


@pytest.mark.usefixtures("_configured")
@pytest.mark.parametrize("command", ["devices", "list", "ping", "config show", "config show --json", "cache clear"])
def test_other_commands_need_no_home(command: str, home: str, capsys: pytest.CaptureFixture[str]) -> None:
    expected = 1 if home == "a file" and command.startswith("cache") else 0
    assert run(command.split()) == expected
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.usefixtures("_configured")
@pytest.mark.parametrize("command", ["recover", "group list"])
def test_commands_about_the_journal_say_that_there_is_none(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command.split()) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "SFJOBS_JOURNAL" in shown.err


@pytest.mark.parametrize("command", ["serve --port 0", "platform keys list"])
def test_a_platform_asks_for_its_data_directory(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command.split()) == 1
    error = capsys.readouterr().err
    assert any(words in error for words in ("--data-dir", "data directory", "there is no platform in"))


def test_without_settings_the_error_names_what_to_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list"]) == 1
    assert "SFJOBS_URL" in capsys.readouterr().err
