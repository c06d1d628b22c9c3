"""Users of xanadu-cloud-client and Strawberry Fields are already configured."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfjobs.config import Secret, Settings
from sfjobs.config.foreign import user_config_folder
from sfjobs.errors import ConfigurationError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nobody"))
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path


@pytest.fixture
def environ(home):
    return {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config")}


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# --- xanadu-cloud-client ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "url", "key"),
    [
        ("XANADU_CLOUD_REFRESH_TOKEN='key'", "https://platform.xanadu.ai:443", "key"),
        (
            "XANADU_CLOUD_REFRESH_TOKEN='key'\nXANADU_CLOUD_HOST='127.0.0.1'\nXANADU_CLOUD_PORT=8791\nXANADU_CLOUD_TLS=False\n",
            "http://127.0.0.1:8791",
            "key",
        ),
        (
            'export XANADU_CLOUD_REFRESH_TOKEN = "key"  # mine\r\nXANADU_CLOUD_TLS="0"\r\n',
            "http://platform.xanadu.ai:443",
            "key",
        ),
        (
            "# XANADU_CLOUD_REFRESH_TOKEN=old\nXANADU_CLOUD_REFRESH_TOKEN=key # new",
            "https://platform.xanadu.ai:443",
            "key",
        ),
        ("XANADU_CLOUD_REFRESH_TOKEN=a#b", "https://platform.xanadu.ai:443", "a#b"),
        (r"XANADU_CLOUD_REFRESH_TOKEN='it\'s'", "https://platform.xanadu.ai:443", "it's"),
        ("XANADU_CLOUD_REFRESH_TOKEN=first\nXANADU_CLOUD_REFRESH_TOKEN=last", "https://platform.xanadu.ai:443", "last"),
        (
            "FOO=1\nnot an assignment\nXANADU_CLOUD_API_KEY='old'\nXANADU_CLOUD_REFRESH_TOKEN=key\nXANADU_CLOUD_HOST=",
            "https://platform.xanadu.ai:443",
            "key",
        ),
    ],
)
def test_the_env_file_is_read_as_its_owner_reads_it(home, environ, text, url, key):
    put(home / "config/xanadu-cloud/.env", text)
    settings = Settings.load(environ=environ)
    assert (settings.url, settings.api_key) == (url, Secret(key))


def test_the_xanadu_environment_beats_the_env_file(home, environ):
    file = put(home / "config/xanadu-cloud/.env", "XANADU_CLOUD_REFRESH_TOKEN=old\nXANADU_CLOUD_HOST=host\n")
    settings = Settings.load(environ={**environ, "XANADU_CLOUD_REFRESH_TOKEN": "new", "XANADU_CLOUD_TLS": "false"})
    assert settings.api_key == Secret("new")
    assert settings.sources["api_key"] == "environment variable XANADU_CLOUD_REFRESH_TOKEN"
    assert settings.sources["url"] == f"{file}, environment variable XANADU_CLOUD_TLS"


def test_the_source_of_the_default_host_is_a_default(environ):
    settings = Settings.load(environ={**environ, "XANADU_CLOUD_ACCESS_TOKEN": "token"})
    assert settings.access_token == Secret("token")
    assert settings.sources["url"] == "default of xanadu-cloud-client"


def test_names_in_another_case_are_ignored(environ):
    assert Settings.find(environ={**environ, "xanadu_cloud_refresh_token": "key"}) is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("XANADU_CLOUD_PORT", "many"),
        ("XANADU_CLOUD_TLS", "perhaps"),
        ("XANADU_CLOUD_HOST", "user@host"),
        ("XANADU_CLOUD_PORT", "0"),
    ],
)
def test_malformed_foreign_values_are_named(environ, variable, value):
    with pytest.raises(ConfigurationError, match=variable):
        Settings.load(environ={**environ, "XANADU_CLOUD_REFRESH_TOKEN": "key", variable: value})


def test_an_ipv6_host_gets_its_brackets(environ):
    settings = Settings.load(environ={**environ, "XANADU_CLOUD_REFRESH_TOKEN": "key", "XANADU_CLOUD_HOST": "::1"})
    assert settings.url == "https://[::1]:443"


# --- Strawberry Fields ------------------------------------------------------------------------------------------------

SF = '[api]\nauthentication_token = "{key}"\nhostname = "{key}.example"\nuse_ssl = true\nport = 443\n'


def test_the_config_of_strawberry_fields_is_read(home, environ):
    file = put(home / "config/strawberryfields/config.toml", SF.format(key="user"))
    settings = Settings.load(environ=environ)
    assert (settings.url, settings.api_key) == ("https://user.example:443", Secret("user"))
    assert settings.sources["url"] == settings.sources["api_key"] == f"{file} [api]"


def test_it_is_searched_in_the_working_directory_then_sf_conf_then_the_user_folder(home, environ):
    environ["SF_CONF"] = str(home / "conf")
    user = put(home / "config/strawberryfields/config.toml", SF.format(key="user"))
    conf = put(home / "conf/config.toml", SF.format(key="conf"))
    local = put(home / "project/config.toml", SF.format(key="local"))
    found = []
    for file in (local, conf, user):
        found.append(Settings.load(environ=environ).url)
        file.unlink()
    assert found == ["https://local.example:443", "https://conf.example:443", "https://user.example:443"]


@pytest.mark.parametrize(
    "text",
    ["baseURL = 'https://blog.example'", "not toml", "api = 3", "[api]\nhostname = 'evil.example'", "[api]\nport = 1"],
)
def test_a_config_toml_of_another_program_in_the_working_directory_is_ignored(home, environ, text):
    put(home / "project/config.toml", text)
    settings = Settings.load(environ={**environ, "SF_API_AUTHENTICATION_TOKEN": "key"})
    assert settings.url == "https://platform.strawberryfields.ai:443"


@pytest.mark.parametrize(
    ("word", "scheme"),
    [
        *((word, "https") for word in ("true", "True", "TRUE", "1")),
        *((word, "http") for word in ("false", "False", "FALSE", "0")),
    ],
)
def test_the_sf_environment_beats_the_file_and_its_booleans_are_known(home, environ, word, scheme):
    put(home / "config/strawberryfields/config.toml", SF.format(key="user"))
    settings = Settings.load(
        environ={**environ, "SF_API_USE_SSL": word, "SF_API_PORT": "81", "SF_API_HOSTNAME": "host"}
    )
    assert settings.url == f"{scheme}://host:81"


@pytest.mark.parametrize("text", ["[other]", "api = 3", "[api", "[api]\nport = 1.5\nauthentication_token = 'x'"])
def test_a_broken_config_of_strawberry_fields_is_named(home, environ, text):
    put(home / "config/strawberryfields/config.toml", text)
    with pytest.raises(ConfigurationError, match=r"strawberryfields/config\.toml"):
        Settings.load(environ=environ)


@pytest.mark.parametrize("text", ["[api]\nport = 1", "[api]\nauthentication_token = ''"])
def test_a_config_without_a_token_is_no_setting_at_all(home, environ, text):
    put(home / "config/strawberryfields/config.toml", text)
    assert Settings.find(environ=environ) is None


# --- precedence -------------------------------------------------------------------------------------------------------


@pytest.fixture
def both(home, environ):
    put(home / "config/strawberryfields/config.toml", SF.format(key="sf"))
    put(home / "config/xanadu-cloud/.env", "XANADU_CLOUD_REFRESH_TOKEN=xcc")
    return environ


def test_the_newer_client_comes_first(both):
    assert Settings.load(environ=both).api_key == Secret("xcc")


@pytest.mark.parametrize("name", ["SFJOBS_URL", "SFJOBS_API_KEY"])
def test_foreign_settings_are_not_mixed_with_an_identity_of_ours(both, name):
    value = {"SFJOBS_URL": "http://host", "SFJOBS_API_KEY": "key"}[name]
    with pytest.raises(ConfigurationError, match="is missing"):
        Settings.load(environ={**both, name: value})


def test_our_other_settings_go_with_a_foreign_identity(both):
    settings = Settings.load(environ={**both, "SFJOBS_RETRIES": "2"})
    assert (settings.api_key, settings.retries) == (Secret("xcc"), 2)


@pytest.mark.parametrize(
    ("system", "variables", "expected"),
    [
        ("linux", {"HOME": "/home/u"}, "/home/u/.config/xanadu-cloud"),
        ("linux", {"HOME": "/home/u", "XDG_CONFIG_HOME": "/x"}, "/x/xanadu-cloud"),
        ("darwin", {"HOME": "/Users/u", "XDG_CONFIG_HOME": "/x"}, "/Users/u/Library/Application Support/xanadu-cloud"),
        ("win32", {"HOME": "/msys", "LOCALAPPDATA": "/Local"}, "/Local/Xanadu/xanadu-cloud"),
    ],
)
def test_each_system_has_its_folder(system, variables, expected):
    wrapped = {name: Secret(value) for name, value in variables.items()}
    assert user_config_folder("xanadu-cloud", wrapped, system) == Path(expected)
