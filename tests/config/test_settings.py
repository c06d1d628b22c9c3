"""Settings: which source wins, the source that is named, and values that are refused."""

from __future__ import annotations

import dataclasses
import math
import os
import stat
import subprocess
import sys

import certifi
import platformdirs
import pytest

from sfjobs.config import Secret, Settings, config_path, known_cache
from sfjobs.errors import ConfigurationError
from tests.support.paths import ROOT


@pytest.fixture(autouse=True)
def nothing_around(tmp_path, monkeypatch):
    """Isolate the tests from the settings of their user."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nobody"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.toml"

    def write(text: str) -> dict[str, str]:
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return {"SFJOBS_CONFIG": str(path)}

    return write


IDENTITY = {"SFJOBS_URL": "http://host:1", "SFJOBS_API_KEY": "key"}


# --- precedence -------------------------------------------------------------------------------------------------------

LAYERS = {
    "argument": "http://argument",
    "environment": "http://environment",
    "file": "http://file",
}


@pytest.mark.parametrize(
    ("present", "winner"),
    [
        ({"argument", "environment", "file"}, "argument"),
        ({"argument", "file"}, "argument"),
        ({"argument", "environment"}, "argument"),
        ({"environment", "file"}, "environment"),
        ({"file"}, "file"),
    ],
)
def test_arguments_beat_the_environment_which_beats_the_file(file, present, winner):
    environ = file(f'url = "{LAYERS["file"]}"' if "file" in present else "")
    if "environment" in present:
        environ["SFJOBS_URL"] = LAYERS["environment"]
    url = LAYERS["argument"] if "argument" in present else None
    assert Settings.load(environ=environ, api_key="key", url=url).url == LAYERS[winner]


def test_every_value_says_where_it_came_from(file):
    environ = file("[profiles.lab]\nread_timeout = 7")
    environ["SFJOBS_URL"] = "http://host"
    settings = Settings.load("lab", environ=environ, api_key="key")
    assert {name: settings.sources[name] for name in ("api_key", "url", "read_timeout", "retries")} == {
        "api_key": "argument",
        "url": "environment variable SFJOBS_URL",
        "read_timeout": f"{environ['SFJOBS_CONFIG']} [lab]",
        "retries": "default",
    }


def test_sources_name_every_setting():
    names = {field.name for field in dataclasses.fields(Settings)} - {"sources"}
    assert Settings.load(environ=IDENTITY).sources.keys() == names


def test_the_process_environment_is_read_when_none_is_given(monkeypatch):
    monkeypatch.setenv("SFJOBS_URL", "http://process")
    monkeypatch.setenv("SFJOBS_API_KEY", "key")
    assert Settings.load().url == "http://process"


def test_an_empty_variable_counts_as_unset():
    assert Settings.load(environ={**IDENTITY, "SFJOBS_RETRIES": "", "SFJOBS_ACCESS_TOKEN": " "}).access_token is None


def test_arguments_that_are_none_count_as_left_out():
    assert Settings.load(environ=IDENTITY, url=None, retries=None).url == "http://host:1"


def test_settings_can_be_made_without_reading_anything(monkeypatch):
    monkeypatch.setenv("SFJOBS_RETRIES", "9")
    assert Settings(url="http://host", api_key="key").retries == 5


def test_replacing_a_value_checks_it_again():
    settings = Settings(url="http://host", api_key="key")
    with pytest.raises(ConfigurationError, match="retries"):
        dataclasses.replace(settings, retries=0)


def test_settings_cannot_be_changed():
    settings = Settings(url="http://host", api_key="key")
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.url = "http://other"


def test_equal_settings_from_different_places_are_equal():
    assert Settings(url="http://host:1", api_key="key") == Settings.load(environ=IDENTITY)


def test_find_returns_none_where_load_raises_with_a_remedy():
    assert Settings.find(environ={}) is None
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(environ={})
    for word in ("sfjobs serve", "SFJOBS_URL", "SFJOBS_API_KEY", config_path({})):
        assert word in str(caught.value)


def test_importing_reads_nothing(tmp_path):
    environ = {**os.environ, "SFJOBS_CONFIG": str(tmp_path / "missing"), "SFJOBS_NONSENSE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "import sfjobs; sfjobs.Settings"],
        env=environ,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0


# --- the parts that belong together -----------------------------------------------------------------------------------


def test_a_url_without_a_credential_names_the_key():
    with pytest.raises(ConfigurationError, match=r"api_key is missing.*SFJOBS_URL"):
        Settings.load(environ={"SFJOBS_URL": "http://host"})


def test_an_access_token_is_credential_enough():
    settings = Settings.load(environ={"SFJOBS_URL": "http://host", "SFJOBS_ACCESS_TOKEN": "token"})
    assert settings.access_token == Secret("token")


def test_a_key_without_a_url_is_never_sent_to_a_guessed_host():
    with pytest.raises(ConfigurationError, match=r"url is missing.*SFJOBS_API_KEY"):
        Settings.load(environ={"SFJOBS_API_KEY": "key"})


def test_the_smallest_poll_interval_must_not_exceed_the_largest():
    with pytest.raises(ConfigurationError, match="poll_interval_min"):
        Settings.load(environ=IDENTITY, poll_interval_min=50)


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://platform.example/", "https://platform.example"),
        ("HTTPS://Platform.Example:443", "https://platform.example:443"),
        (" http://host ", "http://host"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://under_score-1", "http://under_score-1"),
        ("HTTPS://Gateway:8080/Photonics/", "https://gateway:8080/Photonics"),
        ("http://host/a/b%20c/~d;v=1", "http://host/a/b%20c/~d;v=1"),
    ],
)
def test_urls_are_put_into_one_form(written, read):
    assert Settings(url=written, api_key="key").url == read


@pytest.mark.parametrize(
    "url",
    [
        "", "host", "host:80", "ftp://host", "http:host", "http://", "http:///jobs", "http://user@host",
        "http://user:password@host", "http://host?token=1", "http://host#part", "http://host:0", "http://host:99999",
        "http://host:port", "http://host:", "http://ho st", "http://ho\\st", "http://[::1", "http://[host]", "http://hóst", "http://-host",
        "http://host\x00", "//host", "http://%41", "javascript://host", "http://host/a b", "http://host/a//b", "http://host//",
        "http://host/../a", "http://host/a/%2e%2E/b", "http://host/./a", "http://host/a%2", "http://host/ä", "http://host/a\\b",
        "http://host/a\x00", "http://host/a?b", "http://host/<a>",
    ],
)  # fmt: skip
def test_urls_that_are_not_a_scheme_host_port_and_path_are_refused(url):
    with pytest.raises(ConfigurationError, match=r"The setting url \(from argument\)"):
        Settings(url=url, api_key="key")


@pytest.mark.parametrize("url", ["http://user:hunter2@host", "http://host?token=hunter2", "http://host#hunter2"])
def test_a_refused_url_does_not_show_the_credentials_in_it(url):
    with pytest.raises(ConfigurationError) as caught:
        Settings(url=url, api_key="key")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["api_key", "access_token"])
@pytest.mark.parametrize("text", ["hun ter2", "hunter2\nx", "hünter2", "hunter2\x00", "hunter2\x7f"])
def test_credentials_with_white_space_or_beyond_ascii_are_refused_without_being_shown(name, text):
    with pytest.raises(ConfigurationError, match=name) as caught:
        Settings(url="http://host", **{name: text})
    assert text[-3:] not in str(caught.value)


def test_white_space_around_a_key_is_dropped():
    settings = Settings(url="http://host", api_key=" key\n")
    assert settings.api_key is not None
    assert settings.api_key.reveal() == "key"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("retries", "0"), ("retries", "-1"), ("retries", "2.5"), ("retries", "many"), ("retries", "9" * 5000),
        ("max_result_bytes", "1GB"), ("max_result_bytes", "nan"), ("read_timeout", "0"), ("read_timeout", "nan"),
        ("read_timeout", "inf"), ("read_timeout", "-3"), ("connect_timeout", "1e999"), ("api_version", "0.3.0"),
        ("ca_file", "missing.pem"),
        ("result_cache", "onn"), ("result_cache", "folder/of/mine"), ("result_cache_bytes", "0"),
        ("journal", "onn"), ("journal", "of"),
    ],
)  # fmt: skip
def test_values_out_of_range_name_the_setting_and_its_source(name, value):
    variable = f"SFJOBS_{name.upper()}"
    with pytest.raises(ConfigurationError, match=rf"{name} \(from environment variable {variable}\)"):
        Settings.load(environ={**IDENTITY, variable: value})


@pytest.mark.parametrize("value", [True, math.nan, math.inf, -1, 0])
def test_arguments_have_the_same_checks(value):
    with pytest.raises(ConfigurationError, match="read_timeout"):
        Settings(url="http://host", api_key="key", read_timeout=value)


def test_numbers_are_read_from_the_environment():
    settings = Settings.load(
        environ={**IDENTITY, "SFJOBS_RETRIES": "3", "SFJOBS_READ_TIMEOUT": "1.5", "SFJOBS_API_VERSION": "0.2.0"}
    )
    assert (settings.retries, settings.read_timeout, settings.api_version) == (3, 1.5, "0.2.0")


@pytest.mark.parametrize("word", ["on", "ON", "yes", "true", "1", True])
def test_the_cache_that_is_turned_on_is_in_the_users_cache_folder(word, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    folder = platformdirs.user_cache_dir("sfjobs", appauthor=False)
    assert Settings(url="http://host", api_key="key", result_cache=word).result_cache == folder


@pytest.mark.parametrize("word", ["off", "no", "False", "0", False, None])
def test_a_cache_that_is_turned_off_is_none(word):
    assert Settings(url="http://host", api_key="key", result_cache=word).result_cache is None


def test_the_cache_may_be_in_any_absolute_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = Settings.load(environ={**IDENTITY, "SFJOBS_RESULT_CACHE": "~/kept", "SFJOBS_RESULT_CACHE_BYTES": "5"})
    assert (settings.result_cache, settings.result_cache_bytes) == (str(tmp_path / "kept"), 5)


def test_other_defaults_replace_only_defaults():
    settings = Settings.load(environ={**IDENTITY, "SFJOBS_RESULT_CACHE": "off"})
    other = settings.with_defaults(result_cache="/kept", retries=7)
    assert (other.result_cache, other.retries, settings.retries) == (None, 7, 5)
    assert other.api_key == settings.api_key


def test_the_cache_is_known_without_a_platform(file):
    environ = file('result_cache = "/kept"\n[profiles.lab]\nresult_cache = false\nresult_cache_bytes = 5')
    assert known_cache(environ=environ) == ("/kept", 2 << 30)
    assert known_cache("lab", environ) == (None, 5)
    assert known_cache("new", {**environ, "SFJOBS_RESULT_CACHE": "/other"}) == ("/other", 2 << 30)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("on", "on"),
        ("yes", "on"),
        (" OFF ", "off"),
        ("auto", "auto"),
        (" Auto ", "auto"),
        ("0", "off"),
        (True, "on"),
        (False, "off"),
        ("./mine.db", "./mine.db"),
        ("~/a.db", "~/a.db"),
    ],
)
def test_the_journal_is_a_word_or_a_path(written, read):
    assert Settings(url="http://host", api_key="key", journal=written).journal == read


def test_the_journal_is_undecided_until_it_is_needed():
    assert Settings(url="http://host", api_key="key").journal is None
    assert Settings.load(environ={**IDENTITY, "SFJOBS_JOURNAL": "off"}).journal == "off"


def test_a_file_of_certificate_authorities_is_accepted_if_it_holds_some():
    path = certifi.where()
    assert Settings(url="https://host", api_key="key", ca_file=path).ca_file == path


def test_a_file_without_a_certificate_is_refused_before_anything_is_sent(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigurationError, match=r"ca_file \(from argument\).*holds no certificate"):
        Settings(url="https://host", api_key="key", ca_file=str(tmp_path / "ca.pem"))


def test_an_unknown_variable_names_the_nearest():
    with pytest.raises(ConfigurationError, match=r"SFJOBS_APIKEY.*\n.*SFJOBS_API_KEY\?"):
        Settings.load(environ={**IDENTITY, "SFJOBS_APIKEY": "x"})


# --- keys in files ----------------------------------------------------------------------------------------------------


def key_file(tmp_path, text="key\n"):
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_the_key_may_be_in_a_file_of_its_own(tmp_path):
    path = key_file(tmp_path)
    settings = Settings.load(environ={"SFJOBS_URL": "http://host", "SFJOBS_API_KEY_FILE": str(path)})
    assert settings.api_key == Secret("key")
    assert settings.sources["api_key"] == f"{path} (named by environment variable SFJOBS_API_KEY_FILE)"


def test_a_key_and_a_key_file_contradict_each_other(tmp_path):
    with pytest.raises(ConfigurationError, match="Both api_key and api_key_file"):
        Settings.load(environ={**IDENTITY, "SFJOBS_API_KEY_FILE": str(key_file(tmp_path))})


@pytest.mark.parametrize("text", ["", "  \n", "two words"])
def test_a_key_file_must_hold_one_key(tmp_path, text):
    with pytest.raises(ConfigurationError, match=r"api_key \(from .*key \(named by"):
        Settings.load(environ={"SFJOBS_URL": "http://host", "SFJOBS_API_KEY_FILE": str(key_file(tmp_path, text))})


def test_a_missing_key_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nowhere.*No such file"):
        Settings.load(environ={"SFJOBS_URL": "http://host", "SFJOBS_API_KEY_FILE": "nowhere"})


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_a_key_file_that_others_can_read_is_warned_about_once(tmp_path, caplog):
    path = key_file(tmp_path)
    path.chmod(0o644)
    Settings.load(environ={"SFJOBS_URL": "http://host", "SFJOBS_API_KEY_FILE": str(path)})
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(path) in caplog.text
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
