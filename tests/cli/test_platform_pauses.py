"""``sfjobs platform pause`` and ``resume`` beside a running platform, and what users of its devices and jobs see."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

import sfjobs
from sfjobs.cli.application import run
from sfjobs.platform import Platform
from sfjobs.platform.server.serving import serving

pytestmark = pytest.mark.real_time

PROGRAM = "name p\nversion 1.0\ntarget simulon_gaussian (shots=4)\nSgate(0.5) | 0\nMeasureFock() | [0, 1]\n"
TARGET = "simulon_gaussian"


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    with serving(data_dir="data") as running:
        monkeypatch.setenv("SFJOBS_URL", running.url)
        monkeypatch.setenv("SFJOBS_API_KEY", running.api_key)
        yield running


def operate(*words: str) -> int:
    return run(["platform", *words, "--data-dir", "data"])


def device(connection: sfjobs.sync.Connection) -> sfjobs.Device:
    return next(device for device in connection.list_devices() if device.target == TARGET)


def until_online(connection: sfjobs.sync.Connection, *, online: bool) -> sfjobs.Device:
    deadline = time.monotonic() + 30
    while device(connection).is_online is not online:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return device(connection)


def test_a_pause_is_seen_everywhere_and_ends(platform: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    with sfjobs.sync.Connection() as connection:
        assert operate("pause", TARGET, "--until", "3d", "--reason", "laser\x1b[31m swap") == 0
        paused = until_online(connection, online=False)
        assert paused.pause_reason == r"laser\x1b[31m swap"
        assert paused.paused_until is not None
        job = connection.create_job(TARGET, PROGRAM)
        deadline = time.monotonic() + 30
        while "is paused until" not in str(job.why()):
            assert time.monotonic() < deadline
            job.refresh()
        capsys.readouterr()
        assert run(["devices"]) == 0
        assert "paused until" in capsys.readouterr().out
        assert run(["device", TARGET, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["pause"]["reason"] == r"laser\x1b[31m swap"
        assert operate("resume", TARGET) == 0
        assert job.wait(timeout=60) == "complete"
        assert until_online(connection, online=True).pause_reason is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pause", "X9"], "There is no target X9"),
        (["pause", TARGET, "--until", "soon"], "soon is not a time"),
        (["pause", TARGET, "--until", "2001-01-01T00:00"], "has passed"),
        (["pause", TARGET, "--until", "99999d"], "99999d is not a time"),
        (["resume", TARGET], "is not paused"),
    ],
)
def test_what_cannot_be_is_refused(
    platform: Platform, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert operate(*words) == 1
    assert message in capsys.readouterr().err
