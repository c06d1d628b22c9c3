"""A Python environment that has sfjobs, its core requirements and pytest, and nothing else that is installed here. No network."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

from tests.support.environment import clean_environment
from tests.support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


class FreshEnvironment:
    """The environment in ``folder``. ``packages`` are the names of the distributions in it, sfjobs left out."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True, timeout=60)
        paths = sysconfig.get_paths("venv", {"base": str(folder / "venv"), "platbase": str(folder / "venv")})
        self.python = Path(paths["scripts"]) / "python"
        site = Path(paths["purelib"])
        found = {found.name: found for found in required([*PROJECT["dependencies"], "pytest"])}
        self.packages = {name.lower() for name in found}
        for package in found.values():
            link(package, site)
        (site / "sfjobs").symlink_to(ROOT / "sfjobs")
        describe_sfjobs(site / "sfjobs-0.dist-info")

    def run(self, *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run its Python, for a user who has configured nothing but ``environment``."""
        variables = {**clean_environment(self.home), **environment}
        variables.pop("PYTHONPATH")
        return subprocess.run(
            [str(self.python), *arguments], cwd=cwd, env=variables, capture_output=True, text=True, encoding="utf-8",
            check=False, timeout=100,
        )  # fmt: skip

    def pytest(self, folder: Path, *arguments: str, **environment: str) -> str:
        """Run the tests of a folder, which must pass, and return what pytest prints."""
        done = self.run("-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments, cwd=folder, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def required(requirements: list[str]) -> Iterator[Distribution]:
    """Yield the distributions that these need, without extras, each once."""
    todo, seen = list(requirements), set[str]()
    while todo:
        requirement = Requirement(todo.pop())
        if requirement.name in seen or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        seen.add(requirement.name)
        package = distribution(requirement.name)
        yield package
        todo += package.requires or []


def link(package: Distribution, site: Path) -> None:
    """Link the files of a distribution into a folder for packages."""
    tops = {Path(str(file)).parts[0] for file in package.files or []}
    for top in tops - {"..", "__pycache__"}:
        if not (site / top).exists():
            (site / top).symlink_to(str(package.locate_file(top)))


def describe_sfjobs(folder: Path) -> None:
    """Write what an installation would say of sfjobs: its entry points are those of pyproject.toml."""
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: sfjobs\nVersion: 0\n", encoding="utf-8")
    groups = [
        "\n".join([f"[{group}]", *(f"{name} = {target}" for name, target in points.items())])
        for group, points in PROJECT["entry-points"].items()
    ]
    (folder / "entry_points.txt").write_text("\n".join(groups), encoding="utf-8")
