"""Ids and options as people and other programs give them, and the documents of commands that fail."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sfjobs.cli.application import run
from sfjobs.cli.errors import ExitCode
from tests.cli.odd_platform import ID, OddPlatform, serving_odd_records
from tests.support.paths import ROOT

pytestmark = pytest.mark.real_time


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Iterator[OddPlatform]:
    with serving_odd_records() as platform:
        monkeypatch.setenv("SFJOBS_URL", platform.url)
        monkeypatch.setenv("SFJOBS_ACCESS_TOKEN", "token")
        yield platform


def feed(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), "ascii"))


@pytest.mark.parametrize(
    "content",
    [
        f"{ID}\r\n".encode(),
        f"\ufeff{ID}\n".encode(),
        f"{ID}\r\n".encode("utf-16"),
        f"  {ID.upper()}\t\n\n".encode(),
        f"\u200b{ID}\u00a0\u2028".encode(),
        f"{ID}\n{ID.upper()}\n{ID[:8]}\n".encode(),
        f"{ID[:6].upper()}".encode(),
    ],
)
def test_ids_on_standard_input(
    odd: OddPlatform, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    feed(monkeypatch, content)
    assert run(["wait", "-"]) == 0
    assert capsys.readouterr().out == f"{ID} complete\n"


@pytest.mark.parametrize("command", ["show", "wait", "result", "circuit", "cancel"])
@pytest.mark.parametrize("word", [f" {ID} ", ID.upper(), f"\ufeff{ID}\r\n", " ABCD\t"])
def test_an_id_with_blanks_a_mark_or_capitals(odd: OddPlatform, command: str, word: str) -> None:
    assert run([command, word]) == 0
    paths = [request.partition(" ")[2].partition("?")[0] for request in odd.requests]
    assert {path for path in paths if "abcd" in path.lower()} - {"/jobs"} <= {
        f"/jobs/{ID}{tail}" for tail in ("", "/result", "/circuit")
    }


@pytest.mark.parametrize("command", ["show", "wait", "result", "circuit", "cancel"])
@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("", 1),
        ("  ", 1),
        ("ab", 1),
        ("../jobs", 6),
        ("a/b/c?d=e#f", 6),
        ("\x1b[31m", 6),
        ("\u91cf\u5b50\u8a08\u7b97", 6),
        ("\udce9\udce9\udce9\udce9", 6),
        ("x" * 10_000, 6),
        ("%2e%2e", 6),
        ("ffffffff", 6),
    ],
)
def test_what_is_no_id(
    odd: OddPlatform, capsys: pytest.CaptureFixture[str], command: str, word: str, code: int
) -> None:
    assert run([command, word, "--json"]) == code
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"]["exit_code"] == code
    assert len(captured.err.splitlines()) == 2
    assert len(captured.err) < 400


@pytest.mark.parametrize("content", [b"", b"\n\n", "\ufeff\r\n".encode()])
@pytest.mark.parametrize(("command", "code"), [("wait", 0), ("cancel", 0), ("show", 1), ("result", 1), ("circuit", 1)])
def test_an_empty_list_of_ids_is_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str, code: int, content: bytes
) -> None:
    """Nothing is configured, and nothing is sent."""
    feed(monkeypatch, content)
    assert run([command, "-", "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert document.get("jobs", []) == []
    feed(monkeypatch, content)
    assert run([command, "-"]) == code
    assert capsys.readouterr().out == ""


def test_two_ids_are_one_too_many_for_one_job(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", f"{ID} abcd1"]) == 1
    assert "takes one id, not 2" in capsys.readouterr().err


def test_a_repeated_status_means_any_of_them(odd: OddPlatform, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "--status", "queued", "--status", "FAILED", "--status", "queued", "--json"]) == 0
    assert [job["status"] for job in json.loads(capsys.readouterr().out)["jobs"]] == ["failed"]
    assert [request for request in odd.requests if "status" in request] == [
        "GET /jobs?size=20&status=queued",
        "GET /jobs?size=20&status=failed",
    ]
    odd.ids = []
    assert run(["list", "--status", "queued", "--status", "failed"]) == 0
    assert capsys.readouterr().out == "No job is queued or failed.\n"


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        ("nan", 1),
        ("-nan", 1),
        ("-1", 1),
        ("x", 1),
        ("", 1),
        ("1e400", 0),
        ("inf", 0),
        ("1e308", 0),
        ("0", 0),
        ("1_0", 0),
    ],
)
def test_odd_time_limits(odd: OddPlatform, capsys: pytest.CaptureFixture[str], seconds: str, code: int) -> None:
    assert run(["wait", ID, "--timeout", seconds]) == code
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "list --watch --interval nan",
        "list --watch --interval inf",
        "serve --grace nan",
        "serve --time-limit inf",
        "list --limit 0",
        "list --limit x",
        "list --nothing",
        "nothing",
        "group",
        "wait",
        "submit demo.xbb --shots 0",
        "submit missing.xbb",
        "result abcd --output x.txt",
    ],
)
def test_a_wrong_command_line_is_1_and_one_document(capsys: pytest.CaptureFixture[str], line: str) -> None:
    assert run(line.split()) == 1
    captured = capsys.readouterr()
    assert captured.out == "" or line == "group"
    assert ("inf is not a number of seconds" in captured.err) == line.endswith(" inf")
    assert run([*line.split(), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "usage"


@pytest.mark.parametrize(("status", "code"), [("queued", 8), ("odd", 8), ("cancel_pending", 8), ("failed", 2)])
def test_a_job_without_a_result_is_one_document(
    odd: OddPlatform, capsys: pytest.CaptureFixture[str], status: str, code: int
) -> None:
    odd.job = {"status": json.dumps(status)}
    assert run(["result", ID, "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert (document["id"], document["status"], document["result"]) == (ID, status, None)
    assert document["error"]["exit_code"] == code


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00",
        b"\x00",
        b"url = 5\n",
        b"= = =",
        b"[profiles]\nx = 1\n",
        b"url = 'http://a b/\xc3\xa9'\n",
        b"[" * 5000,
    ],
)
@pytest.mark.parametrize("line", ["list", "config show", "cache show", "ping"])
def test_odd_configuration_files(capsys: pytest.CaptureFixture[str], home: Path, content: bytes, line: str) -> None:
    folder = home / "home" / "sfjobs"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_bytes(content)
    code = run([*line.split(), "--json"])
    captured = capsys.readouterr()
    assert code == 1 or line == "cache show"
    assert isinstance(json.loads(captured.out), dict)
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    "url",
    [
        "",
        " ",
        "x",
        "http://",
        "http://a b",
        "http://\u91cf\u5b50.example:99999",
        "http://[::1",
        "ftp://a",
        "http://\x1b[31m",
        "http://a\nb",
    ],
)
def test_odd_urls(capsys: pytest.CaptureFixture[str], url: str) -> None:
    assert run(["--url", url, "list", "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"]["exit_code"] == 1
    assert len(captured.err.splitlines()) == 2
    assert "\x1b" not in captured.err


def test_the_guide_lists_every_exit_code() -> None:
    guide = (ROOT / "examples/guides/command-line.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| `([a-z-]+)`: (.+) \|$", guide, re.MULTILINE)
    assert {int(number): kind for number, kind, _ in rows} == {
        int(code): code.name.lower().replace("_", "-") for code in ExitCode
    }
