"""What the project runs on itself: ``nox -s tests`` is the command of the README and of CI."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True

PROJECT = nox.project.load_toml("pyproject.toml")
ROOT = Path(__file__).parent


def group(name: str) -> list[str]:
    return list(nox.project.dependency_groups(PROJECT, name))


@nox.session
def tests(session: nox.Session) -> None:
    """Everything that must hold, on asyncio and trio, with the embedded platform and its simulators: a file to each process."""
    session.install("-e", ".[all]", *group("test"))
    session.run("pytest", *(session.posargs or ("--numprocesses=auto", "--maxprocesses=4", "--dist=loadfile")))


@nox.session
def lint(session: nox.Session) -> None:
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    session.install("-e", ".[all]", *group("types"))
    session.run("mypy", *session.posargs)


@nox.session
def interop(session: nox.Session) -> None:
    """The real Strawberry Fields and xanadu-cloud-client, library and command line, against a started platform."""
    # In this order: a requirement of Strawberry Fields, lark-parser 0.12, writes into the same folder as the lark that the
    # platform asks for, and the one that comes last stays.
    session.install(*group("interop"))
    session.install("-e", ".[cli,platform]")
    session.run("pytest", "-m", "interop", "tests/interop", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Ratios against other programs, interleaved in one run; nothing here passes or fails by a time."""
    session.install("-e", ".[all]", *group("test"), *group("bench"))
    session.run("python", "-m", "tests.benchmarks", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """
    Ten minutes of a hundred clients and 20 000 jobs on a bad line, after more programs against the model than a run of the
    tests has time for. Arguments are those of ``python -m tests.soak``: `nox -s soak -- --minutes 3 --jobs 6000`.
    """
    session.install("-e", ".[all]", *group("test"))
    session.run("pytest", "tests/scenarios/test_model.py", env={"MODEL_PROGRAMS": "5000"})
    session.run("python", "-m", "tests.soak", *session.posargs)


@nox.session(venv_backend="venv", reuse_venv=False)
def quickstart(session: nox.Session) -> None:
    """The README's first command as a newcomer meets it: only its three extras, in an empty environment."""
    session.install(".[cli,platform,plot]")
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "samples.png"
        session.run("sfjobs", "run", "examples/x8_gbs.xbb", "--plot", str(picture))
        if picture.stat().st_size < 1000:
            session.error("the picture is empty")
