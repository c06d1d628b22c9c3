"""Every command on records that are odd: no traceback, the exit code of its kind, one line a row, and --json is one document."""

from __future__ import annotations

import io
import json
import sys
import time
import unicodedata
from collections.abc import Iterator

import pytest

from sfjobs.cli.application import run
from tests.cli.odd_platform import ID, TARGET, OddPlatform, serving_odd_records

pytestmark = pytest.mark.real_time

COMMANDS = [
    "list",
    "list --status queued --status complete",
    "list --ids",
    "show {id}",
    "show abcd",
    "wait {id}",
    "result {id}",
    "circuit {id}",
    "submit demo.xbb",
]
DEVICE_COMMANDS = ["devices", "device {target}", "device {target} --layout"]

TIMES = [
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "0002-01-01T00:00:00+23:59",
    "0999-12-31T23:59:59Z",
    "1969-12-31T23:59:59.999999Z",
    "9998-12-31T23:59:59.999999-23:59",
    "9999-12-31T23:59:59.999999-12:00",
    "9999-12-31T23:59:59Z",
    "2026-02-30T00:00:00Z",
    "yesterday",
    "",
]
ZONES = [
    "UTC",
    "Pacific/Kiritimati",
    "America/St_Johns",
    "No/Such_Zone",
    "AAA+24",
    "AAA-24",
    "AAA+167:59:59",
    "",
    ":",
    "\u00e9",
]
NAMES = {
    "two lines": "two\nlines\r\n",
    "escapes": "\x1b[31mred\x1b[0m\x1b]0;title\x07\x9b31m",
    "NUL": "a\0b",
    "right to left": "\u202eabc\u200f \u05e9\u05dc\u05d5\u05dd",
    "wide": "\u91cf\u5b50\u8a08\u7b97" * 30,
    "emoji": "\U0001f469\u200d\U0001f52c \U0001f9ea" * 20,
    "combining": "e\u0301" * 60 + "\u0300" * 40,
    "markup": "[bold]x[/bold] [/] :smile: [link=http://x]y",
    "10 kB": "x" * 10_000,
    "blank": "   ",
    "empty": "",
    "separators": "a\u2028b\u2029c\x0bd\x0ce\x85f",
    "half of a pair": "\ud800",
    "tabs": "\ta\tb",
}
OPEN, CLOSED, LONG = "[" * 300, "]" * 300, "v" * 10_000
METAS = [
    "null",
    "[]",
    '"text"',
    '{"a": NaN, "b": [Infinity, -Infinity], "c": 1e999}',
    '{"a": %s}' % ("9" * 400),
    '{"a": %s}' % ("9" * 5000),
    '{"a": -0.0, "b": 5e-324, "c": true, "d": null}',
    f'{{"deep": {OPEN}1{CLOSED}}}',
    '{"": "", " ": " ", "\\n": "\\n", "\\u001b[2J": "\\u001b[2J"}',
    '{"\\ud800": "\\udfff", "nested": {"\\ud800": ["\\udc00"]}}',
    f'{{"{LONG[:3000]}": "{LONG}"}}',
    '{"job": 1, "status": 2, "name": 3, "id": 4}',
    '{"\u91cf\u5b50": {"\u8a08": "\u7b97"}}',
]
FIELDS = [
    {"status": '"no such status"'},
    {"status": '"\u91cf\u5b50"'},
    {"status": '"%s"' % ("s" * 100)},
    {"running_time": "-5"},
    {"running_time": "9.9e11"},
    {"running_time": "1e-9"},
    {"running_time": "NaN"},
    {"running_time": "59.99"},
    {"target": '"%s"' % ("t" * 5000)},
    {"target": "null", "name": "null", "language": "null", "created_at": "null", "running_time": "null"},
    {"name": "17", "language": "{}"},
    {"started_at": "null"},
]
DEVICES = [
    {"status": '"\u91cf\u5b50 \\u001b[31m"'},
    {"status": "null", "created_at": '"9999-12-31T23:59:59Z"'},
    {"expected_uptime": '{"monday": ["00:00:00+14:00", "23:59:59-12:00"], "noday": ["x", 1], "friday": []}'},
    {"expected_uptime": '{"sunday": ["12:00:00", "11:00:00"]}'},
    {"target": '"a target\\nof two lines %s"' % ("w" * 500)},
    {"target": '"\u91cf\u5b50"'},
    {"gate_parameters": '{"\\u001b[31m": [[0, NaN], [1, [2]], "x", null, {"a": []}], "": 3, "p": {"q": [1]}}'},
    {"gate_parameters": "null", "certificate": "[]"},
    {"certificate": '{"a\\nb": {"c": "\\ud800"}, "n": %s}' % ("9" * 400)},
]


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Iterator[OddPlatform]:
    with serving_odd_records() as platform:
        monkeypatch.setenv("SFJOBS_URL", platform.url)
        monkeypatch.setenv("SFJOBS_ACCESS_TOKEN", "token")
        yield platform


def survives(
    capsys: pytest.CaptureFixture[str], commands: list[str], codes: frozenset[int] | set[int] = frozenset({0})
) -> None:
    """Run each command with and without --json."""
    for line in commands:
        words = line.format(id=ID, target=TARGET).split()
        rows = run_safely(capsys, words, codes).splitlines()
        shown = [row for row in rows if row.strip()]
        if words[:1] == ["list"] and "--ids" not in words and shown:
            assert len(shown) == 3, f"{line}: a head, a rule and a row, not {shown}"
            assert max(map(width, rows)) <= 80
        document = json.loads(run_safely(capsys, [*words, "--json"], codes), parse_constant=refused)
        assert isinstance(document, dict)


def run_safely(capsys: pytest.CaptureFixture[str], words: list[str], codes: frozenset[int] | set[int]) -> str:
    code = run(words)
    out, err = capsys.readouterr()
    assert code in codes, (words, code, err)
    assert "Traceback" not in out + err
    controls = {character for character in out + err if ord(character) < 32 or 0x7F <= ord(character) < 0xA0}
    assert controls <= {"\n"}, (words, controls)
    out.encode()
    return out


def width(text: str) -> int:
    """Return the columns that a terminal shows ``text`` in."""
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )


def refused(word: str) -> object:
    raise AssertionError(f"{word} is no JSON")


@pytest.mark.parametrize("when", TIMES)
def test_times_at_the_edges_of_the_calendar(odd: OddPlatform, capsys: pytest.CaptureFixture[str], when: str) -> None:
    odd.job = dict.fromkeys(("created_at", "started_at", "finished_at"), json.dumps(when))
    odd.device = {"created_at": json.dumps(when)}
    survives(capsys, ["list", "show {id}", "wait {id}", "device {target}"])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no tzset")
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("when", ["0002-01-01T00:00:00+00:00", "9998-12-31T23:59:59Z"])
def test_any_time_zone(
    odd: OddPlatform, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, zone: str, when: str
) -> None:
    odd.job = {"created_at": json.dumps(when)}
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        try:
            survives(capsys, ["list", "show {id}"])
        finally:
            patch.undo()
            time.tzset()


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_names(odd: OddPlatform, capsys: pytest.CaptureFixture[str], name: str) -> None:
    odd.job = {"name": json.dumps(name), "target": json.dumps(name)}
    survives(capsys, ["list", "show {id}", "result {id}"])


@pytest.mark.parametrize("number", range(len(METAS)))
def test_meta(odd: OddPlatform, capsys: pytest.CaptureFixture[str], number: int) -> None:
    odd.job = {"meta": METAS[number]}
    survives(capsys, ["list", "show {id}"])
    odd.job = {"meta": METAS[number], "status": '"failed"'}
    survives(capsys, ["wait {id}", "result {id}"], {2})


@pytest.mark.parametrize("number", range(len(FIELDS)))
def test_fields(odd: OddPlatform, capsys: pytest.CaptureFixture[str], number: int) -> None:
    odd.job = FIELDS[number]
    if "status" in odd.job:
        survives(capsys, ["list", "show {id}"])
        survives(capsys, ["wait {id} --timeout 0"], {3})
        survives(capsys, ["result {id}"], {8})
    else:
        survives(capsys, ["list", "show {id}", "wait {id}"])


def test_every_command_on_a_record_with_all_of_it(odd: OddPlatform, capsys: pytest.CaptureFixture[str]) -> None:
    name = json.dumps(
        "".join(NAMES[kind] for kind in ("two lines", "escapes", "NUL", "right to left", "wide", "markup"))
    )
    odd.job = {"name": name, "target": name, "meta": METAS[-4], "created_at": '"9999-12-31T23:59:59Z"'}
    odd.device = {"status": name, "certificate": METAS[-5], "gate_parameters": METAS[3]}
    survives(capsys, [*COMMANDS, *DEVICE_COMMANDS])


@pytest.mark.parametrize("number", range(len(DEVICES)))
def test_devices(odd: OddPlatform, capsys: pytest.CaptureFixture[str], number: int) -> None:
    odd.device = DEVICES[number]
    survives(capsys, ["devices"])
    survives(capsys, ["device {target}"], {5 if "target" in odd.device else 0})


@pytest.mark.parametrize("columns", ["1", "7", "40", "10000", "0", "-3", "x"])
def test_any_width(
    odd: OddPlatform, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    odd.job = {"name": json.dumps(NAMES["wide"]), "meta": METAS[-3]}
    for line in ["list", "show {id}", "result {id}", "devices", "device {target}", "config show", "cache show"]:
        words = line.format(id=ID, target=TARGET).split()
        out = run_safely(capsys, words, {0})
        if words == ["list"] and columns == "40":
            assert max(map(width, out.splitlines())) <= 40
            assert f"{ID[:8]}   complete" in out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "utf-8", "shift_jis"])
@pytest.mark.parametrize("name", ["\u91cf\u5b50 \xe9 \U0001f9ea", "\u91cf" * 100], ids=["short", "long"])
def test_any_encoding(odd: OddPlatform, monkeypatch: pytest.MonkeyPatch, encoding: str, name: str) -> None:
    odd.job = {"name": json.dumps(name), "meta": json.dumps({name: name}), "target": json.dumps(name)}
    odd.device = {"status": json.dumps(name)}
    odd.circuit = f"# {name}\n"
    for line in ["list", "show {id}", "result {id}", "circuit {id}", "devices"]:
        for more in [[]] if line != "list" else [[], ["--json"]]:
            out, err = io.BytesIO(), io.BytesIO()
            with monkeypatch.context() as patch:
                patch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding))
                patch.setattr(sys, "stderr", io.TextIOWrapper(err, encoding))
                assert run([*line.format(id=ID, target=TARGET).split(), *more]) == 0
                sys.stderr.flush()
                sys.stdout.detach()
                sys.stderr.detach()
            text = out.getvalue().decode(encoding)
            if line == "list" and not more:
                assert max(map(width, text.splitlines())) <= 80
                assert "\\u91cf" in text or encoding in ("utf-8", "shift_jis")
            if more:
                assert isinstance(json.loads(text), dict)


def test_long_lists(odd: OddPlatform, capsys: pytest.CaptureFixture[str]) -> None:
    odd.ids = [f"abcd{number:04d}-0000-4000-8000-000000000000" for number in range(1500)]
    assert len(run_safely(capsys, ["list", "--limit", "1500"], {0}).splitlines()) == 1502
    assert len(run_safely(capsys, ["list", "--limit", "1500", "--ids"], {0}).splitlines()) == 1500
    assert len(json.loads(run_safely(capsys, ["list", "--limit", "999999999999999999999", "--json"], {0}))["jobs"]) > 0
