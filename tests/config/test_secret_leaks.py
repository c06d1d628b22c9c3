"""However loading fails, no frame, message, cause or log line shows a key."""

from __future__ import annotations

import copy
import dataclasses
import io
import logging
import pickle
import traceback

import pytest
from rich.console import Console
from rich.traceback import Traceback

from sfjobs.config import Settings
from sfjobs.errors import ConfigurationError

KEY = "hunter2"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nobody"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SFJOBS_ACCESS_TOKEN", KEY)
    return tmp_path


def from_file(text: str):
    def load(place):
        (place / "config.toml").write_text(text)
        Settings.load(environ={"SFJOBS_CONFIG": str(place / "config.toml")})

    return load


def from_key_file(content: bytes):
    def load(place):
        (place / "key").write_bytes(content)
        Settings.load(environ={"SFJOBS_URL": "http://host", "SFJOBS_API_KEY_FILE": str(place / "key")})

    return load


def from_xcc(text: str):
    def load(place):
        (place / "xanadu-cloud").mkdir()
        (place / "xanadu-cloud" / ".env").write_text(text)
        Settings.load(environ={"HOME": str(place), "XDG_CONFIG_HOME": str(place)})

    return load


def from_sf(text: str):
    def load(place):
        (place / "strawberryfields").mkdir()
        (place / "strawberryfields" / "config.toml").write_text(text)
        Settings.load(environ={"HOME": str(place), "XDG_CONFIG_HOME": str(place)})

    return load


FAILURES = {
    "the process environment": lambda place: Settings.load(retries=0),
    "a given environment": lambda place: Settings.load(environ={"SFJOBS_API_KEY": KEY}),
    "an unknown variable": lambda place: Settings.load(environ={"SFJOBS_APIKEY": KEY}),
    "an argument": lambda place: Settings.load(environ={}, api_key=KEY),
    "an argument beside a bad one": lambda place: Settings(url="nonsense", api_key=KEY),
    "an argument with white space": lambda place: Settings(url="http://host", api_key=f"{KEY} {KEY}"),
    "a password in the url": lambda place: Settings(url=f"http://user:{KEY}@host", api_key=KEY),
    "a token in the url": lambda place: Settings(url=f"http://host/?token={KEY}", api_key=KEY),
    "a password in a foreign host": lambda place: Settings.load(
        environ={"XANADU_CLOUD_REFRESH_TOKEN": KEY, "XANADU_CLOUD_HOST": f"user:{KEY}@host"}
    ),
    "a file without url": from_file(f"api_key = '{KEY}'"),
    "a misspelt key": from_file(f"api_kye = '{KEY}'"),
    "a key in a list": from_file(f"url = 'http://host'\napi_key = ['{KEY}']"),
    "a key in a table of its own": from_file(f"[profiles.lab.keys]\na = '{KEY}'"),
    "a broken line": from_file(f"url = 'http://host'\napi_key = '{KEY}"),
    "a bare word": from_file(f"api_key = {KEY}"),
    "a bad neighbour": from_file(f"url = 'http://host'\napi_key = '{KEY}'\nretries = 'x'"),
    "a key file of two lines": from_key_file(f"{KEY}\n{KEY}".encode()),
    "a key file that is no text": from_key_file(KEY.encode() + b"\xff"),
    "a large key file": from_key_file(KEY.encode() * 100_000),
    "an xcc file": from_xcc(f"XANADU_CLOUD_REFRESH_TOKEN={KEY}\nXANADU_CLOUD_TLS=perhaps"),
    "an xcc file with white space": from_xcc(f"XANADU_CLOUD_REFRESH_TOKEN='{KEY} {KEY}'"),
    "a broken Strawberry Fields file": from_sf(f"[api]\nauthentication_token = '{KEY}"),
    "a Strawberry Fields file": from_sf(f"[api]\nauthentication_token = '{KEY}'\nuse_ssl = 'perhaps'"),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_failure_shows_no_key_anywhere(place, caplog, failure):
    with pytest.raises(ConfigurationError) as caught:
        failure(place)
    error: BaseException | None = caught.value
    assert KEY not in str(error)
    while error is not None:
        # The outermost frames are those of this test, which of course know the key.
        assert KEY not in repr(error)
        assert KEY not in frames_of_ours(error)
        error = error.__cause__ or error.__context__
    assert KEY not in caplog.text


def frames_of_ours(error: BaseException) -> str:
    """All frames below the test's own, suppressed contexts included, with their locals."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [frame for frame in shown.stack if frame.filename != __file__]
    return "\n".join(f"{frame.name} {frame.locals}" for frame in frames)


def test_rich_tracebacks_show_no_key(place):
    output = io.StringIO()
    try:
        Settings.load(api_version="0.3.0", url="http://host")  # the key comes from the environment
    except ConfigurationError as error:
        rendered = Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True)
        Console(file=output, width=200).print(rendered)
    assert "0.3.0" in output.getvalue()
    assert KEY not in output.getvalue()


@pytest.mark.parametrize(
    "show", [repr, str, dataclasses.asdict, copy.deepcopy, dataclasses.astuple, lambda settings: settings.sources]
)
def test_settings_show_no_key(show):
    assert KEY not in repr(show(Settings(url="http://host", api_key=KEY)))


def test_settings_with_a_key_refuse_to_be_pickled():
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Settings(url="http://host", api_key=KEY))


def test_loading_logs_nothing_about_the_key(caplog):
    Settings.load(url="http://host")
    assert KEY not in caplog.text
