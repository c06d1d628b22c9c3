"""``sfjobs login`` and ``sfjobs config show``: the key is stored, used, and never printed."""

from __future__ import annotations

import io
import json
import os
import pty
import stat
import sys
import types

import pytest

from sfjobs.cli.application import run
from sfjobs.config import Secret, Settings
from tests.support.commands import start

pytestmark = pytest.mark.real_time


@pytest.fixture
def file(home):
    """The configuration file, in a folder that does not exist yet."""
    return home / "home" / "sfjobs" / "config.toml"


@pytest.fixture
def type_in(monkeypatch):
    def type_in(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))

    return type_in


@pytest.fixture
def keyring(monkeypatch):
    """A replacement for the package keyring, empty."""
    kept: dict[tuple[str, str], str] = {}
    module = types.ModuleType("keyring")
    module.__dict__.update(
        get_password=lambda service, username: kept.get((service, username)),
        set_password=lambda service, username, password: kept.update({(service, username): password}),
    )
    monkeypatch.setitem(sys.modules, "keyring", module)
    return kept


def test_a_key_from_standard_input_is_checked_and_stored(platform, type_in, file, capsys):
    type_in(f"{platform.api_key}\n")
    assert run(["login", "--url", platform.url, "--key-stdin"]) == 0
    settings = Settings.load(environ={"SFJOBS_CONFIG": str(file)})
    assert (settings.url, settings.api_key) == (platform.url, Secret(platform.api_key))


def test_the_key_is_not_shown(platform, type_in, capsys):
    type_in(platform.api_key)
    run(["login", "--url", platform.url, "--key-stdin"])
    run(["config", "show"])
    run(["config", "show", "--json"])
    captured = capsys.readouterr()
    assert platform.api_key not in captured.out + captured.err
    assert "***" in captured.out


def test_only_its_owner_can_read_the_file(platform, type_in, file):
    type_in(platform.api_key)
    run(["login", "--url", platform.url, "--key-stdin"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_after_the_login_the_other_commands_work(platform, type_in):
    type_in(platform.api_key)
    run(["login", "--url", platform.url, "--key-stdin", "--profile", "lab"])
    assert run(["--profile", "lab", "ping"]) == 0


def test_a_wrong_key_exits_with_4_and_stores_nothing(platform, type_in, file, capsys):
    type_in("hunter2")
    assert run(["login", "--url", platform.url, "--key-stdin"]) == 4
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 2
    assert "hunter2" not in captured.err
    assert not file.exists()


def test_the_check_uses_the_key_and_not_a_token_of_the_environment(platform, type_in, file, monkeypatch):
    monkeypatch.setenv("SFJOBS_API_KEY", platform.api_key)
    type_in("hunter2")
    assert run(["login", "--url", platform.url, "--key-stdin"]) == 4


def test_without_the_check_no_request_is_sent(type_in, file, capsys):
    type_in("key")
    assert run(["login", "--url", "http://127.0.0.1:9", "--key-stdin", "--no-check", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer == {
        "url": "http://127.0.0.1:9",
        "profile": "default",
        "file": str(file),
        "key_in": "file",
        "checked": False,
    }


@pytest.mark.parametrize(
    ("line", "typed", "code"),
    [
        ("login --key-stdin", "key", 1),
        ("login --url http://127.0.0.1:9", "", 1),
        ("login --url http://127.0.0.1:9 --key-stdin", " \n", 1),
        ("login --url nonsense --key-stdin", "key", 1),
        ("login --url http://127.0.0.1:9 --key-stdin", "two words", 1),
        ("login --url http://127.0.0.1:9 --key-stdin", "key", 5),
    ],
)
def test_a_failed_login_is_two_lines_and_stores_nothing(type_in, file, capsys, line, typed, code):
    type_in(typed)
    assert run(line.split()) == code
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert not file.exists()


def test_a_second_login_keeps_the_url_and_all_other_lines(platform, type_in, file):
    type_in(platform.api_key)
    run(["login", "--url", platform.url, "--key-stdin"])
    file.write_text(f'# mine\nread_timeout = 7 # s\n{file.read_text()}\n[profiles.lab]\nurl = "http://lab"\n')
    before = file.read_text()
    type_in("other-key")
    assert run(["login", "--key-stdin", "--no-check"]) == 0
    assert file.read_text() == before.replace(platform.api_key, "other-key")


def test_it_reports_variables_that_override_the_file(type_in, capsys, monkeypatch):
    monkeypatch.setenv("SFJOBS_API_KEY", "another")
    type_in("key")
    run(["login", "--url", "http://127.0.0.1:9", "--key-stdin", "--no-check"])
    assert "SFJOBS_API_KEY in the environment still win" in capsys.readouterr().err


def test_the_key_that_is_typed_does_not_echo(platform, file, monkeypatch):
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "dumb")
    login = ("login", "--url", platform.url)
    with start(*login, start_new_session=True, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while b"not shown" not in shown:
            shown += os.read(ours, 1024)
        os.write(ours, platform.api_key.encode() + b"\n")
        while b"stored in" not in shown:
            shown += os.read(ours, 1024)
    os.close(ours)
    assert process.returncode == 0
    assert platform.api_key.encode() not in shown
    assert Settings.load(environ={"SFJOBS_CONFIG": str(file)}).api_key == Secret(platform.api_key)


# --- the keyring -----------------------------------------------------------------------------------------------------


def test_a_key_in_the_keyring_is_in_no_file_and_found_again(platform, type_in, keyring, file):
    type_in(platform.api_key)
    assert run(["login", "--url", platform.url, "--key-stdin", "--keyring"]) == 0
    assert platform.api_key not in file.read_text()
    assert run(["ping"]) == 0


def test_the_keyring_takes_the_place_of_a_key_in_the_file(platform, type_in, keyring, file):
    for options in ([], ["--keyring"]):
        type_in(platform.api_key)
        run(["login", "--url", platform.url, "--key-stdin", *options])
    assert "api_key_keyring = true" in file.read_text()
    assert "api_key =" not in file.read_text()


def test_the_keyring_is_not_used_while_a_setting_overrides_it(keyring, file, monkeypatch):
    file.parent.mkdir(parents=True)
    file.write_text('url = "http://host"\napi_key_keyring = true\n')
    monkeypatch.setitem(sys.modules, "keyring", None)
    environ = {"SFJOBS_CONFIG": str(file), "SFJOBS_API_KEY": "key"}
    assert Settings.load(environ=environ).api_key == Secret("key")


def test_a_key_is_sent_only_to_the_url_that_it_was_stored_for(type_in, keyring, file, capsys):
    type_in("key")
    run(["login", "--url", "http://127.0.0.1:9", "--key-stdin", "--no-check", "--keyring"])
    file.write_text(file.read_text().replace("127.0.0.1:9", "elsewhere"))
    assert run(["ping"]) == 1
    assert "gives no API key for http://elsewhere" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["login --url http://127.0.0.1:9 --key-stdin --keyring", "ping"])
def test_without_the_package_keyring_two_lines_say_so(type_in, file, capsys, monkeypatch, line):
    file.parent.mkdir(parents=True)
    file.write_text('url = "http://127.0.0.1:9"\napi_key_keyring = true\n')
    monkeypatch.setitem(sys.modules, "keyring", None)
    type_in("key")
    assert run(line.split()) == 1
    assert "pip install keyring" in capsys.readouterr().err


def test_the_message_about_a_failing_keyring_does_not_have_the_key(type_in, keyring, file, capsys):
    def refuse(service: str, username: str, password: str) -> None:
        raise RuntimeError(f"no {password}")

    sys.modules["keyring"].__dict__["set_password"] = refuse
    type_in("hunter2")
    assert run(["login", "--url", "http://127.0.0.1:9", "--key-stdin", "--no-check", "--keyring"]) == 1
    err = capsys.readouterr().err
    assert "refused the API key" in err
    assert "hunter2" not in err


# --- config show -----------------------------------------------------------------------------------------------------


def test_each_value_is_shown_with_its_source(type_in, file, capsys):
    type_in("key")
    run(["login", "--url", "http://127.0.0.1:9", "--key-stdin", "--no-check"])
    capsys.readouterr()
    assert run(["config", "show", "--json"]) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert settings["url"] == {"value": "http://127.0.0.1:9", "source": str(file)}
    assert settings["api_key"] == {"value": "***", "source": str(file)}
    assert settings["retries"] == {"value": 1, "source": "environment variable SFJOBS_RETRIES"}
    assert settings["attempt_timeout"] == {"value": 60.0, "source": "default"}
