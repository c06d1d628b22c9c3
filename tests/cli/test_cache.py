"""The result cache of commands, against a platform with conditional requests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sfjobs.cli.application import run

pytestmark = pytest.mark.real_time


@pytest.fixture
def cache(home: Path) -> Path:
    """The default folder of cached results."""
    return home / "cache" / "sfjobs"


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    capsys.readouterr()
    assert run([*words, "--json"]) == 0
    document: dict[str, object] = json.loads(capsys.readouterr().out)
    return document


@pytest.mark.usefixtures("configured")
def test_a_result_that_a_run_has_fetched_is_not_downloaded_again(
    capsys: pytest.CaptureFixture[str], cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = answer(capsys, "run", "demo.xbb")
    with caplog.at_level("DEBUG", "sfjobs"):
        again = answer(capsys, "result", str(job["id"]))
    assert again["result"] == job["result"]
    assert [record.message for record in caplog.records if "/result 304" in record.message]
    assert len(list(cache.iterdir())) == 2


@pytest.mark.usefixtures("configured")
def test_it_can_be_turned_off(capsys: pytest.CaptureFixture[str], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFJOBS_RESULT_CACHE", "off")
    answer(capsys, "run", "demo.xbb")
    assert not cache.exists()
    assert answer(capsys, "cache", "show")["folder"] is None
    assert run(["cache", "clear"]) == run(["cache", "show"]) == 0
    assert capsys.readouterr().out == "The cache is off: there is nothing to remove.\nThe cache is off.\n"


@pytest.mark.usefixtures("configured")
def test_its_folder_can_be_configured(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SFJOBS_RESULT_CACHE", str(tmp_path / "elsewhere"))
    answer(capsys, "run", "demo.xbb")
    assert (len(list((tmp_path / "elsewhere").iterdir())), cache.exists()) == (2, False)


def test_results_of_an_embedded_platform_are_not_cached(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    answer(capsys, "run", "demo.xbb")
    assert not cache.exists()


@pytest.mark.usefixtures("configured")
def test_show_prints_the_size_and_clear_removes_the_results(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    answer(capsys, "run", "demo.xbb")
    shown = answer(capsys, "cache", "show")
    assert (shown["folder"], shown["results"], shown["max_bytes"]) == (str(cache), 1, 2 << 30)
    size = sum(path.stat().st_size for path in cache.iterdir())
    assert shown["bytes"] == size
    assert run(["cache", "show"]) == 0
    assert f"1 result, {size} bytes of at most 2.0 GiB" in capsys.readouterr().out
    assert answer(capsys, "cache", "clear") == {"folder": str(cache), "results": 1, "bytes": size}
    assert list(cache.iterdir()) == []


def test_the_cache_needs_no_platform(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    assert answer(capsys, "cache", "show") == {"folder": str(cache), "results": 0, "bytes": 0, "max_bytes": 2 << 30}


def test_a_folder_that_cannot_be_read_is_an_error_of_two_lines(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SFJOBS_RESULT_CACHE", str(tmp_path / "file"))
    assert run(["cache", "show"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.usefixtures("configured")
def test_config_show_reports_that_it_is_on(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    settings = answer(capsys, "config", "show")["settings"]
    assert isinstance(settings, dict)
    assert settings["result_cache"] == {"value": str(cache), "source": "default"}
