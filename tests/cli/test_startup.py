"""What the command imports at its start, and its messages when something is missing."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import sfjobs
from sfjobs.cli.application import run
from tests.support.paths import ROOT


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )


def imported_by(*arguments: str) -> set[str]:
    done = python("-X", "importtime", *arguments)
    assert done.returncode == 0
    return set(re.findall(r"\|\s+([\w.]+)$", done.stderr, re.MULTILINE))


COMMANDS = [
    "run",
    "submit",
    "list",
    "show",
    "wait",
    "result",
    "circuit",
    "cancel",
    "delete",
    "recover",
    "group list",
    "devices",
    "device",
    "serve",
    "platform",
    "platform keys",
    "platform keys add",
    "platform keys list",
    "platform keys revoke",
    "login",
    "ping",
    "config show",
    "cache show",
    "cache clear",
]
HEAVY = {"httpx", "numpy", "uvicorn", "starlette", "matplotlib", "anyio", "rich.console", "typer.rich_utils"}


@pytest.mark.parametrize("line", ["--help", "--version", *(f"{command} --help" for command in COMMANDS)])
def test_help_imports_nothing_heavy(line):
    assert not imported_by("-m", "sfjobs", *line.split()) & HEAVY


def test_help_imports_no_command():
    loaded = {name for name in imported_by("-m", "sfjobs", "--help") if name.startswith("sfjobs.")}
    assert loaded == {
        "sfjobs._version",
        "sfjobs.cli",
        "sfjobs.cli.application",
        "sfjobs.cli.errors",
        "sfjobs.cli.context",
        "sfjobs.cli.output",
        "sfjobs.cli.output.json",
        "sfjobs.cli.signals",
        "sfjobs.cli.streams",
        "sfjobs.errors",
    }


def test_the_list_of_commands_has_the_first_sentence_of_each_help(capsys):
    run(["--help"])
    listed = dict(
        re.findall(r"^  ([a-z]+) {2,}(\S.*)$", capsys.readouterr().out.partition("Commands:")[2], re.MULTILINE)
    )
    assert listed.keys() == {command.split()[0] for command in COMMANDS}
    for command, summary in listed.items():
        run([command, "--help"])
        assert f"\n  {summary}" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "expected"), [("sfjobs wa", "wait"), ("sfjobs wait --th", "--then")])
def test_a_shell_can_complete_commands_and_options(words, expected):
    environ = {"_SFJOBS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    code = (
        f"import os, sys; os.environ.update({environ!r}); sys.argv = ['sfjobs']; import sfjobs.cli; sfjobs.cli.main()"
    )
    assert python("-c", code).stdout.split() == [expected]


@pytest.mark.parametrize("options", [[], ["--profile", "list"]])
def test_a_command_is_found_after_the_global_options(capsys, options):
    assert run([*options, "show", "--help"]) == 0
    assert "Show one job" in capsys.readouterr().out


def test_the_version_needs_no_extra():
    assert "typer" not in imported_by("-m", "sfjobs", "--version")


def test_the_version_is_printed():
    assert python("-m", "sfjobs", "--version").stdout == f"sfjobs {sfjobs.__version__}\n"


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_two_lines_say_how_to_get_it(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['sfjobs', 'ping']; import sfjobs.cli; sfjobs.cli.main()"
    done = python("-c", code)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 2
    assert "pip install 'sfjobs[cli]'" in done.stderr


@pytest.mark.parametrize("group", [[], ["cache"], ["config"], ["group"], ["platform"], ["platform", "keys"]])
def test_without_a_command_the_help_is_shown(capsys, group):
    run([*group, "--help"])
    shown = capsys.readouterr().out
    assert "Commands:" in shown
    assert run(group) == 1
    assert capsys.readouterr() == (shown, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frobnicate"], ["frobnicate", "sfjobs --help"]),
        (["run"], ["PROGRAM", "sfjobs run --help"]),
        (["run", "x.xbb", "--shots", "0"], ["--shots", "sfjobs run --help"]),
        (["run", "x.xbb", "--frobnicate"], ["--frobnicate", "sfjobs run --help"]),
        (["run", "missing.xbb"], ["missing.xbb cannot be read: No such file", "standard input"]),
        (["ping"], ["No platform is configured", "sfjobs serve"]),
        (["--url", "http://host", "ping"], ["api_key is missing", "SFJOBS_API_KEY"]),
        (["--url", "host", "ping"], ["url (from argument)", "http(s)://"]),
        (["--profile", "lab", "ping"], ["no profile 'lab'", "Write the file"]),
    ],
)
def test_a_mistake_in_the_call_is_two_lines_on_stderr_and_exit_code_1(capsys, arguments, words):
    assert run(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 2
    assert all(word in line for word, line in zip(words, lines, strict=True))


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.xbb"
    path.write_text("name x\nversion 1.0\n\nMeasureFock() | 0\n")
    return str(path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], ["has no target", "--target"]),
        (["--target", "t", "--output", "x.txt"], ["x.txt", ".npz or .npy or .csv"]),
        (["--target", "t", "--output", "nowhere/x.npz"], ["a folder that does not exist", "nowhere"]),
        (["--target", "t", "--plot", "x.jpeg"], ["x.jpeg", ".png or .svg or .pdf"]),
    ],
)
def test_invalid_options_are_refused_before_anything_starts(capsys, script, options, words):
    assert run(["run", script, *options]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(word in line for word, line in zip(words, lines, strict=True))


def test_a_plot_without_matplotlib_is_refused_before_anything_starts(capsys, script, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run(["run", script, "--target", "t", "--plot", "x.png"]) == 1
    assert "pip install 'sfjobs[plot]'" in capsys.readouterr().err


def test_a_binary_file_is_refused(capsys, tmp_path):
    (tmp_path / "x.xbb").write_bytes(b"\xff\x00")
    assert run(["run", "x.xbb"]) == 1
    assert "not text in UTF-8" in capsys.readouterr().err


def test_without_the_platform_extra_a_run_says_what_to_do(capsys, script, monkeypatch):
    monkeypatch.setitem(sys.modules, "sfjobs.platform.server.serving", None)
    assert run(["run", script, "--target", "t"]) == 1
    assert "pip install 'sfjobs[platform]'" in capsys.readouterr().err
