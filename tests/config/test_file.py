"""The configuration file: its profiles, and the errors about files that are not valid."""

from __future__ import annotations

import errno
import os

import pytest

from sfjobs.config import Secret, Settings, config_path
from sfjobs.errors import ConfigurationError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sfjobs").mkdir()
    return tmp_path / "sfjobs"


@pytest.fixture
def write(folder):
    def write(text: str | bytes) -> None:
        path = folder / "config.toml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(0o600)

    return write


TWO_PROFILES = """
url = "https://cloud.example"
api_key = "cloud-key"
read_timeout = 7

[profiles.lab]
url = "http://10.0.0.7:8080"
api_key = "lab-key"
"""


def test_the_top_level_is_the_default_profile(write, folder):
    write(TWO_PROFILES)
    settings = Settings.load(environ={})
    assert (settings.url, settings.api_key, settings.read_timeout) == (
        "https://cloud.example",
        Secret("cloud-key"),
        7.0,
    )
    assert settings.sources["url"] == str(folder / "config.toml")


@pytest.mark.parametrize(
    ("argument", "environ"), [("lab", {}), (None, {"SFJOBS_PROFILE": "lab"}), ("lab", {"SFJOBS_PROFILE": "x"})]
)
def test_another_profile_is_selected_by_argument_or_environment(write, argument, environ):
    write(TWO_PROFILES)
    assert Settings.load(argument, environ=environ).url == "http://10.0.0.7:8080"


def test_a_profile_inherits_nothing_from_the_top_level(write):
    write('url = "https://cloud.example"\napi_key = "cloud-key"\nread_timeout = 7\n[profiles.lab]\nurl = "http://lab"')
    with pytest.raises(ConfigurationError, match=r"api_key is missing: http://lab \(from .*\[lab\]\)"):
        Settings.load("lab", environ={})


def test_the_default_profile_can_be_named(write):
    write(TWO_PROFILES)
    assert Settings.load("default", environ={"SFJOBS_PROFILE": "lab"}).url == "https://cloud.example"


def test_the_error_of_a_missing_profile_lists_the_existing_ones(write):
    write(TWO_PROFILES)
    with pytest.raises(ConfigurationError, match=r"no profile 'lba' \(from argument\)[^\n]*\n[^\n]*default, lab"):
        Settings.load("lba", environ={})


def test_a_profile_without_any_file_names_the_file(folder):
    with pytest.raises(ConfigurationError, match=r"environment variable SFJOBS_PROFILE.*config\.toml"):
        Settings.load(environ={"SFJOBS_PROFILE": "lab"})


def test_a_profile_that_gives_no_identity_does_not_borrow_one_from_other_clients(write):
    write("[profiles.lab]\nread_timeout = 7")
    with pytest.raises(ConfigurationError, match="'lab' gives neither url nor api_key"):
        Settings.load("lab", environ={"XANADU_CLOUD_REFRESH_TOKEN": "foreign"})


def test_the_key_file_of_a_profile_is_found_beside_the_configuration(write, folder):
    (folder / "key").write_text("key-in-file\n")
    (folder / "key").chmod(0o600)
    write('url = "http://host"\napi_key_file = "key"')
    assert Settings.load(environ={}).api_key == Secret("key-in-file")


def test_the_path_can_be_set(tmp_path):
    assert config_path({"SFJOBS_CONFIG": str(tmp_path / "mine.toml")}) == str(tmp_path / "mine.toml")
    assert config_path({}) == str(tmp_path / "sfjobs" / "config.toml")


def test_a_file_that_the_environment_names_must_exist(tmp_path):
    with pytest.raises(
        ConfigurationError, match=r"There is no file .*gone\.toml \(from environment variable SFJOBS_CONFIG\)"
    ):
        Settings.load(environ={"SFJOBS_CONFIG": str(tmp_path / "gone.toml")})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ulr = 1", r"no setting 'ulr'.*\n.*url\?"),
        ("[profiles.lab]\napi_kye = 'x'", r"no setting 'api_kye' \(in .*\[lab\]\).*\n.*api_key\?"),
        ("[profile.lab]\nurl = 'x'", r"no setting 'profile'.*\n.*profiles\?"),
        ("profiles = 3", "table of tables"),
        ("profiles.lab = 3", "table of tables"),
        ("[profiles.default]", "the default profile is the top level"),
        ("url = http://host", r"is not TOML.*line 1"),
        ("url = 3", r"url \(from .*\) is not a text"),
        ("url = ['http://host']", r"url \(from .*\) is not a text"),
        ("url = 'http://host'\napi_key = 12345", r"api_key \(from .*\) is not a text"),
        ("url = ''", r"url \(from .*\) is empty"),
        ("api_key_file = 3", r"api_key_file \(from .*\) is not a path"),
        ("url = 'http://host'\napi_key = 'k'\nretries = true", r"retries \(from .*\) is not a whole number"),
        (
            "url = 'http://host'\napi_key = 'k'\nread_timeout = {}",
            r"read_timeout \(from .*\) is not a number of seconds",
        ),
        (b"\xff\xfe", "is not UTF-8"),
        ("#" * 300_000, "larger than"),
        ("x = " + "[" * 100_000, "is not TOML"),
    ],
)
def test_a_file_that_is_not_valid_is_refused_by_name(write, folder, text, message):
    write(text)
    with pytest.raises(ConfigurationError, match=message) as caught:
        Settings.load(environ={})
    assert str(folder / "config.toml") in str(caught.value)


def test_a_folder_in_place_of_the_file_is_refused(folder):
    (folder / "config.toml").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Settings.load(environ={})


def test_a_byte_order_mark_is_ignored(write):
    write(b"\xef\xbb\xbf" + TWO_PROFILES.encode())
    assert Settings.load(environ={}).url == "https://cloud.example"


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_a_file_with_a_key_that_others_can_read_is_warned_about_once(write, folder, caplog):
    write(TWO_PROFILES)
    (folder / "config.toml").chmod(0o640)
    Settings.load(environ={})
    assert len(caplog.records) == 1
    assert "chmod 600" in caplog.text
    assert "cloud-key" not in caplog.text


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_a_file_without_a_key_may_be_read_by_all(write, folder, caplog):
    write('url = "http://host"')
    (folder / "config.toml").chmod(0o644)
    Settings.load(environ={"SFJOBS_API_KEY": "key"})
    assert not caplog.records


# -- homes that may not be read, or are not there ----------------------------------------------------------------------------


@pytest.fixture
def _forbidden(folder, monkeypatch):
    """A home that belongs to another user, as /root does to the user of many containers. Root may read it all the same."""
    stat = os.stat

    def refuse(path, *arguments, **options):
        if str(path).startswith(str(folder.parent)):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", refuse)


@pytest.mark.usefixtures("_forbidden")
def test_a_home_that_may_not_be_read_has_no_settings(folder):
    """It was a PermissionError."""
    environ = {"HOME": str(folder.parent), "XDG_CONFIG_HOME": str(folder.parent)}
    assert Settings.find(environ=environ) is None
    settings = Settings.load(environ={**environ, "SFJOBS_URL": "http://host", "SFJOBS_API_KEY": "key"})
    assert settings.url == "http://host"


@pytest.mark.usefixtures("_forbidden")
def test_a_file_that_was_named_and_may_not_be_read_is_an_error(folder):
    with pytest.raises(ConfigurationError, match=r"There is no file .*SFJOBS_CONFIG"):
        Settings.load(environ={"SFJOBS_CONFIG": str(folder / "mine.toml")})


@pytest.mark.skipif(os.name == "nt", reason="homes are found by other means there")
@pytest.mark.parametrize("name", ["SFJOBS_CONFIG", "SFJOBS_API_KEY_FILE", "SFJOBS_CA_FILE", "SFJOBS_RESULT_CACHE"])
def test_a_path_from_the_home_of_a_user_without_one_is_no_crash(name, monkeypatch):
    """``~`` was a RuntimeError."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    key = {} if name == "SFJOBS_API_KEY_FILE" else {"SFJOBS_API_KEY": "key"}
    environ = {"SFJOBS_URL": "https://host", **key, name: "~/mine"}
    if name == "SFJOBS_RESULT_CACHE":
        assert Settings.load(environ=environ).result_cache == "/nonexistent/mine"
    else:
        with pytest.raises(ConfigurationError, match="/nonexistent/mine"):
            Settings.load(environ=environ)
