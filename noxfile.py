"""The project's checks. ``nox -s tests`` is the README's command; CI runs ``nox -s lint types tests``."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True

PROJECT = nox.project.load_toml("pyproject.toml")
ROOT = Path(__file__).parent
IN_PROCESSES = ["--numprocesses=auto", "--maxprocesses=4", "--dist=loadfile"]
# Those that need neither a simulator, nor matplotlib, nor a Jupyter kernel, nor schemathesis.
CORE_TESTS = [
    *(f"tests/{name}" for name in ("client", "config", "http", "jobs", "journal", "protocol", "submission")),
    *(f"tests/{name}" for name in ("sync", "testing", "tracking", "platform/jobs", "platform/store")),
    "tests/cli/test_errors.py",
    "tests/cli/test_startup.py",
    "tests/docs/test_imports.py",
    "tests/results/test_npy.py",
    "tests/results/test_npz.py",
    "tests/results/test_to_memory.py",
    "tests/test_errors.py",
]


def group(name: str) -> list[str]:
    return list(nox.project.dependency_groups(PROJECT, name))


def lowest_versions() -> list[str]:
    """Return a constraint ``name==version`` for each requirement ``name>=version`` of the core and two extras."""
    extras = PROJECT["project"]["optional-dependencies"]
    requirements = [*PROJECT["project"]["dependencies"], *extras["cli"], *extras["platform"]]
    return [re.sub(r"^([\w.-]+)>=([\d.]+)[^;]*", r"\1==\2", requirement) for requirement in requirements]


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests on asyncio and trio, with the embedded platform and its simulators, in up to 4 processes."""
    session.install("-e", ".[all]", *group("test"))
    session.run("pytest", *(session.posargs or IN_PROCESSES))


@nox.session
def lowest(session: nox.Session) -> None:
    """Run the core tests on the lowest versions that pyproject.toml allows."""
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "lowest.txt"
        constraints.write_text("\n".join(lowest_versions()), encoding="utf-8")
        session.install("-c", str(constraints), "-e", ".[cli,platform]", *group("test-core"))
    session.run("pytest", *(session.posargs or [*IN_PROCESSES, *CORE_TESTS]))


@nox.session(python=["3.12", "3.13", "3.14"])
def newer(session: nox.Session) -> None:
    """Run the core tests on each newer Python that is installed here; nox skips the others."""
    session.install("-e", ".[cli,platform]", *group("test-core"))
    session.run("pytest", *(session.posargs or [*IN_PROCESSES, *CORE_TESTS]))


@nox.session
def lint(session: nox.Session) -> None:
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Run mypy over the package, and over programs that use every public name; ``interop`` runs pyright over these."""
    session.install("-e", ".[all]", *group("types"))
    session.run("mypy", *session.posargs)
    session.run("mypy", "tests/docs/typed_programs")


@nox.session
def interop(session: nox.Session) -> None:
    """Run Strawberry Fields and xanadu-cloud-client, libraries and commands, against the embedded platform."""
    # In this order: Strawberry Fields requires lark-parser 0.12, which is installed into the same folder as the lark of the
    # platform. The package that is installed last stays.
    session.install(*group("interop"))
    session.install("-e", ".[cli,platform]")
    session.run("pytest", "-m", "interop", "tests/interop", *session.posargs)
    session.run("pyright", "--pythonpath", session.virtualenv.bin + "/python", "tests/docs/typed_programs")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure sfjobs against other programs, interleaved in one run. No benchmark passes or fails by a time."""
    session.install("-e", ".[all]", *group("test"), *group("bench"))
    session.run("python", "-m", "tests.benchmarks", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """
    Run 100 clients and 20,000 jobs for ten minutes on a faulty network, after 5,000 random programs against the model; then a lab
    of 30 accounts and 20,000 jobs on a platform with faults.

    Arguments are those of ``python -m tests.soak``: `nox -s soak -- --minutes 3 --jobs 6000`.
    """
    session.install("-e", ".[all]", *group("test"))
    session.run("pytest", "tests/scenarios/test_model.py", env={"MODEL_PROGRAMS": "5000"})
    session.run("python", "-m", "tests.soak", *session.posargs)
    session.run("python", "-m", "tests.soak.lab")


@nox.session
def mutation(session: nox.Session) -> None:
    """
    Change single operators and arguments of a module with mutmut, and run the tests that reach them. Not on Windows.

    Arguments are those of ``python -m tests.mutation``: `nox -s mutation -- sfjobs/_tracking/poller.py --sample 50`.
    """
    session.install("-e", ".[all]", *group("test"), *group("mutation"))
    session.run("python", "-m", "tests.mutation", *session.posargs)


@nox.session(venv_backend="venv", reuse_venv=False)
def quickstart(session: nox.Session) -> None:
    """Run the README's first command in an empty environment."""
    session.install(".[cli,platform,plot]")
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "samples.png"
        session.run("sfjobs", "run", "examples/x8_gbs.xbb", "--plot", str(picture))
        if picture.stat().st_size < 1000:
            session.error("the picture is empty")
