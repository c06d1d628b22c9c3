"""What README and guides say is true: their code runs, their commands and settings exist, their tables are those of the code."""

from __future__ import annotations

import ast
import asyncio
import functools
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import types
from collections.abc import Awaitable, Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import cast

import numpy as np
import pytest

import sfjobs
from sfjobs import errors
from sfjobs.cli.errors import ExitCode
from sfjobs.config import config_path
from sfjobs.platform import Platform, serving
from tests.support.environment import CONFIGURES, clean_environment
from tests.support.paths import ROOT

README = ROOT / "README.md"
GUIDES = sorted((ROOT / "examples" / "guides").glob("*.md"))
CONTRIBUTING = ROOT / ".github" / "CONTRIBUTING.md"
MOST_LINES_OF_README = 220


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    document: str
    language: str
    code: str


def blocks_of(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    found = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(path.stem, language, code) for language, code in found]


BLOCKS = [block for path in [README, *GUIDES, CONTRIBUTING] for block in blocks_of(path)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
SHELL = [line for block in BLOCKS if block.language == "sh" for line in block.code.splitlines()]
START = [line for block in blocks_of(README) if block.language == "sh" for line in block.code.splitlines()]
COMMANDS = sorted({re.sub(r"^.*&& ", "", line) for line in SHELL if re.search(r"(^|&& )sfjobs ", line)})
UNITS = {"s": 1, "GiB": 2**30}

pytestmark = pytest.mark.real_time


def ids_of(blocks: list[Block]) -> list[str]:
    return [f"{block.document}-{blocks[:number].count(block)}{number}" for number, block in enumerate(blocks)]


def guide(name: str) -> str:
    return (ROOT / "examples" / "guides" / f"{name}.md").read_text(encoding="utf-8")


def rows_below(document: str, title: str) -> list[list[str]]:
    """The cells of the table of that guide whose header begins with ``title``."""
    match = re.search(rf"^\| {re.escape(title)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", guide(document), re.MULTILINE)
    assert match is not None, f"there is no table {title} in {document}"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in match[1].splitlines()]


FROM_STRAWBERRY_FIELDS = "coming-from-strawberry-fields"
MIGRATION = [
    code
    for title in ("`strawberryfields` up to 0.19", "`xcc` (Strawberry Fields from 0.20)")
    for _, cell in rows_below(FROM_STRAWBERRY_FIELDS, title)
    for code in re.findall(r"`([^`]+)`", cell)
]
SESSIONS = [
    block for block in BLOCKS if block.language == "text" and re.search(r"^\$ .*sfjobs (submit|list)", block.code)
]
MIGRATED_COMMANDS = [
    code
    for _, cell in rows_below(FROM_STRAWBERRY_FIELDS, "`xcc` and `sf` in a shell")
    for code in re.findall(r"`(sfjobs [^`]+)`", cell)
]


@pytest.fixture
def reader(platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of somebody who has set nothing but the platform, with the examples in it."""
    for name in os.environ:
        if name.startswith(CONFIGURES[:4]):
            monkeypatch.delenv(name)
    for name in ("HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("SFJOBS_URL", platform.url)
    monkeypatch.setenv("SFJOBS_API_KEY", platform.api_key)
    monkeypatch.setenv("SFJOBS_POLL_INTERVAL_MIN", "0.05")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def execute(code: str, names: dict[str, object]) -> Callable[[], Awaitable[object]]:
    """The code as a coroutine function. What it defines ends in ``names``; an expression gives its value."""
    is_expression = "\n" not in code
    tree = compile(
        code, "a document", "eval" if is_expression else "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
    )
    function = cast("Callable[[], object]", types.FunctionType(tree, names))

    async def call() -> object:
        value = function()
        return await value if inspect.iscoroutine(value) else value

    return call


def script(shots: int) -> str:
    text = (ROOT / "examples" / "x8_gbs.xbb").read_text(encoding="utf-8")
    return text.replace("shots=10000", f"shots={shots}")


async def with_jobs(code: str) -> object:
    """The value of ``code`` with the names that the documents use: a connection, a program, a job that fits the call."""
    async with sfjobs.Connection() as connection:
        # The job that is to be cancelled must not have ended before.
        if re.search(r"\bcancel(_job)?\(", code):
            job = await connection.create_job("never", "Vac | 0\nMeasureFock() | 0\n", shots=1)
        else:
            job = await connection.create_job("X8_01", script(20))
            await job.wait(timeout=60, fetch_result=False)
        fresh = sfjobs.Job(job.id, "open", connection)
        names = {
            "sfjobs": sfjobs,
            "connection": connection,
            "program": script(20),
            "job_id": job.id,
            "job": fresh,
            "jobs": [fresh],
        }
        return await execute(code, names)()


@pytest.mark.parametrize("block", PYTHON, ids=ids_of(PYTHON))
def test_a_code_block_runs(block: Block, reader: Path) -> None:
    if "asyncio.run(" in block.code:
        exec(compile(block.code, block.document, "exec", dont_inherit=True), {"__name__": "__main__"})
    else:
        asyncio.run(cast("types.CoroutineType[object, object, object]", with_jobs(block.code)))


@pytest.mark.parametrize("code", MIGRATION)
def test_what_a_call_became_runs(code: str, reader: Path) -> None:
    if code == "sfjobs.Connection()" or code.startswith("sfjobs.Connection("):
        assert isinstance(eval(code, {"sfjobs": sfjobs}), sfjobs.Connection)
    else:
        asyncio.run(cast("types.CoroutineType[object, object, object]", with_jobs(code)))


@pytest.mark.parametrize("command", [*COMMANDS, *MIGRATED_COMMANDS])
def test_a_command_line_names_commands_and_options_that_exist(command: str) -> None:
    known = set(re.findall(r"^  ([a-z]+)  ", help_of(), re.MULTILINE))
    for part in command.split(" | "):
        words = shlex.split(part)[1:]
        subcommand = next(word for word in words if word in known)
        options = {word for word in words if word.startswith("--")}
        assert options <= set(re.findall(r"--[a-z-]+", help_of() + help_of(subcommand)))


@pytest.mark.parametrize("session", SESSIONS, ids=ids_of(SESSIONS))
def test_a_session_prints_what_is_shown(session: Block, tmp_path: Path) -> None:
    (tmp_path / "sfjobs").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sfjobs "$@"\n')
    (tmp_path / "sfjobs").chmod(0o700)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    lines = [line[2:] for line in session.code.splitlines() if line.startswith("$ ")]
    environment = clean_environment(tmp_path) | {"COLUMNS": "80"}
    environment["PATH"] = f"{tmp_path}{os.pathsep}{environment['PATH']}"
    with serving() as platform:
        environment |= {"SFJOBS_URL": platform.url, "SFJOBS_API_KEY": platform.api_key}
        done = subprocess.run(
            ["/bin/sh", "-ec", "\n".join(lines)],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            check=True,
            timeout=100,
        )
    shown = "\n".join(line for line in session.code.splitlines() if not line.startswith("$ "))
    assert form_of(done.stdout) == form_of(shown)


def form_of(printed: str) -> list[str]:
    """The lines without what differs from run to run: ids, numbers and the units of short times, and spaces."""
    text = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9a-f]{8}\b", "ID", printed)
    text = re.sub(r"\b[\d.]+(e-\d+)?( m?s\b)?", "0", text)
    return [re.sub(r" +|─+", " ", line).strip() for line in text.splitlines()]


@functools.cache
def help_of(*subcommand: str) -> str:
    environment = {**os.environ, "COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    environment["PYTHONUTF8"] = "1"
    command = [sys.executable, "-m", "sfjobs", *subcommand, "--help"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, encoding="utf-8", check=True, timeout=60
    )
    return done.stdout


def test_the_quickstart_prints_what_the_readme_shows(tmp_path: Path) -> None:
    words = shlex.split(START[0].partition("&& ")[2])
    assert words[:2] == ["sfjobs", "run"]
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=tmp_path,
        env=clean_environment(tmp_path),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
        timeout=100,
    )
    shown = next(block.code for block in BLOCKS if block.code.startswith(f"$ {shlex.join(words)}"))
    assert (tmp_path / "samples.png").stat().st_size > 15_000
    assert shape_of(done.stderr + done.stdout) == shape_of(shown.partition("\n")[2])


def shape_of(printed: str) -> list[str]:
    """The lines that are the same in every run: words, without numbers, samples, bars and the spaces between."""
    # What comes and goes on a terminal stays in a log.
    lines = [re.sub(r"^Job .*", "Job", line) for line in printed.splitlines() if not line.startswith("Submitting")]
    words = [" ".join(re.findall(r"[A-Za-z:]{2,}|X8_01", line)) for line in lines]
    return list(dict.fromkeys(word for word in words if word))


def test_the_two_commands_are_what_the_checks_run() -> None:
    first, second = START
    install, _, start = first.partition(" && ")
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert shlex.split(install) == ["python", "-m", "pip", "install", ".[cli,platform,plot]"]
    assert 'session.install(".[cli,platform,plot]")' in noxfile
    assert shlex.split(start) == ["sfjobs", "run", "examples/x8_gbs.xbb", "--plot", "samples.png"]
    assert 'session.run("sfjobs", "run", "examples/x8_gbs.xbb", "--plot", str(picture))' in noxfile
    assert second == "python -m pip install nox && nox -s tests"
    assert re.search(r"-m pip install .*nox", ci)
    assert re.search(r'nox" -s lint types tests$', ci, re.MULTILINE)


def test_the_nox_sessions_that_are_named_exist() -> None:
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    sessions = set(re.findall(r"^@nox\.session.*\ndef (\w+)", noxfile, re.MULTILINE))
    texts = [path.read_text(encoding="utf-8") for path in [README, *GUIDES, CONTRIBUTING]]
    named = {name for text in texts for names in re.findall(r"nox -s ([a-z ]+)", text) for name in names.split()}
    assert named == sessions


def test_the_settings_are_those_of_the_code() -> None:
    documented = {row[0].strip("`"): row for row in rows_below("settings", "setting")}
    known = {field.name: field for field in fields(sfjobs.Settings) if field.name != "sources"}
    assert documented.keys() == known.keys()
    for name, (_, variable, default, _) in documented.items():
        assert variable == f"`SFJOBS_{name.upper()}`"
        assert value_of(default) == (None if known[name].default is MISSING else known[name].default), name


def value_of(text: str) -> object:
    """``30 s`` as 30, ``4 GiB`` as a number of bytes, an empty cell as None."""
    number, _, unit = text.partition(" ")
    if not text or number.count(".") > 1 or number.isalpha():
        return text or None
    return float(number) * UNITS[unit or "s"]


def test_the_configuration_file_it_shows_is_one(tmp_path: Path) -> None:
    shown = next(block.code for block in BLOCKS if block.language == "toml")
    (tmp_path / "key").write_text("first-key", encoding="utf-8")
    (tmp_path / "lab-key").write_text("second-key", encoding="utf-8")
    for key in ("key", "lab-key"):
        (tmp_path / key).chmod(0o600)
    file = tmp_path / "config.toml"
    file.write_text(shown, encoding="utf-8")
    environment = {"SFJOBS_CONFIG": str(file)}
    lab = sfjobs.Settings.load("lab", environ=environment)
    assert config_path(environment) == str(file)
    assert (lab.url, lab.read_timeout) == ("http://10.0.0.7:8080", 90)
    assert sfjobs.Settings.load(environ=environment).url == "https://platform.example"


def test_the_variables_for_other_clients_name_the_platform_that_it_serves(tmp_path: Path) -> None:
    exported = [word for line in SHELL if line.startswith("export ") for word in shlex.split(line)[1:]]
    environment = {
        name: "key" if "$(" in value else value for name, _, value in (word.partition("=") for word in exported)
    }
    settings = sfjobs.Settings.load(environ={**environment, "HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)})
    port = re.search(r"sfjobs serve .*--port (\d+)`", guide("platform"))
    assert port is not None
    assert settings.url == f"http://127.0.0.1:{port[1]}"


def test_the_tree_of_errors_is_that_of_the_code() -> None:
    tree = next(block.code for block in BLOCKS if "SFJobsError" in block.code and block.language == "text")
    above: list[str] = []
    shown: dict[str, str | None] = {}
    for line in tree.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        for name in re.findall(r"\w+Error\b", re.sub(r"\(.*?\)", "", line)):
            above[depth:] = [name]
            shown[name] = above[depth - 1] if depth else None
    classes = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, Exception) and kind.__module__ == errors.__name__
    }
    assert shown.keys() == classes.keys()
    for name, parent in shown.items():
        assert classes[name].__bases__[0] is (classes[parent] if parent else classes[name].__mro__[1]), name


def test_the_targets_are_those_of_the_platform(reader: Path) -> None:
    documented = {name for row in rows_below("platform", "target") for name in re.findall(r"`(\w+)`", row[0])}

    async def targets() -> set[str]:
        async with sfjobs.Connection() as connection:
            return {device.target for device in await connection.list_devices()}

    assert documented == asyncio.run(targets()) - {"never", "always_fails"}


def test_the_extras_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    documented = {name for row in rows_below("platform", "extra")[1:] for name in re.findall(r"`(\w+)`", row[0])}
    assert documented == project["optional-dependencies"].keys()


def test_the_exit_codes_are_those_of_the_code() -> None:
    assert [int(code) for code, _ in rows_below("command-line", "exit code")] == [code.value for code in ExitCode]


def test_the_limits_are_the_options_of_serve() -> None:
    defaults = {
        option: default.rstrip("0").rstrip(".") if "." in default else default
        for option, default in re.findall(
            r"(--[\w-]+) [A-Z]+ [^[]*?\[default:\s+([\d.]+)", " ".join(help_of("serve").split())
        )
    }
    for option, _, default in rows_below("platform", "option"):
        assert defaults[option.strip("`")] == default, option


def test_the_members_of_results_that_are_named_exist() -> None:
    named = {name for row in rows_below("results", "attribute or method") for name in re.findall(r"`(\w+)[(`]", row[0])}
    assert named
    result = sfjobs.Result([np.zeros((2, 1), dtype=np.int64)])
    assert {name for name in named if not hasattr(result, name)} == set()


def test_the_errors_with_advice_are_errors() -> None:
    named = [row[0].strip("`") for row in rows_below("errors", "error")]
    assert [name for name in named if not issubclass(getattr(sfjobs, name), Exception)] == []


def test_the_readme_is_short_and_names_every_guide_by_its_question() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES_OF_README
    for path in GUIDES:
        question = path.read_text(encoding="utf-8").splitlines()[2]
        assert f"| {question} | [{path.name}](examples/guides/{path.name}) |" in text


@pytest.mark.parametrize("path", [README, *GUIDES, CONTRIBUTING], ids=lambda path: path.stem)
def test_the_files_that_are_linked_exist(path: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (path.parent / link).exists()] == []
