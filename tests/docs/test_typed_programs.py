"""
Programs that use every public name; the types session runs ``mypy --strict`` over them, the interop session pyright. They are
never run.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Iterator
from importlib import import_module

import pytest

from tests.docs import public_api
from tests.support.paths import ROOT

FOLDER = ROOT / "tests" / "docs" / "typed_programs"


def used(*files: str) -> set[str]:
    """Return the attributes that these programs use, alone and with the name before: ``status``, ``sfjobs.Job``."""
    trees = [ast.parse((FOLDER / file).read_text(encoding="utf-8")) for file in files]
    attributes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    return {node.attr for node in attributes} | {ast.unparse(node) for node in attributes}


def home_names() -> Iterator[tuple[str, str]]:
    """Yield each package with each of its names in the written API that is not described in an earlier one."""
    package = ""
    for line in public_api.FILE.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(" "):
            package = line
        elif line.startswith("    ") and not line.startswith("     ") and " = sfjobs" not in line:
            words = line.replace("(", " ").split()
            name = next(word for word in words if word not in ("class", "def", "async"))
            yield package, name


def spellings(package: str, name: str) -> set[str]:
    """Return how a program writes this name, in each package that has it: ``sfjobs.JobError``, ``errors.JobError``."""
    value = getattr(import_module(package), name)
    homes = [place for place in public_api.PACKAGES if getattr(import_module(place), name, None) is value]
    return {f"{place.rpartition('.')[2]}.{name}" for place in homes}


def members(kind: type) -> Iterator[str]:
    """Yield the public members that a class has of its own, with the fields of a dataclass and the members of an enum."""
    fields = {field.name for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set[str]()
    yield from fields
    for name, _ in inspect.getmembers_static(kind):
        if not name.startswith("_") and name not in fields and public_api.is_ours(kind, name):
            yield name


@pytest.mark.parametrize("package", public_api.PACKAGES)
def test_a_typed_program_uses_every_public_name(package: str) -> None:
    found = used("asynchronous.py", "blocking.py", "modules.py", "testing.py")
    names = [name for home, name in home_names() if home == package]
    assert [name for name in names if not found & spellings(package, name)] == [], f"use them in {FOLDER}"


@pytest.mark.parametrize("package", public_api.PACKAGES)
def test_a_typed_program_uses_every_member_of_a_public_class(package: str) -> None:
    found = used("blocking.py") if package == "sfjobs.sync" else used("asynchronous.py", "modules.py", "testing.py")
    kinds = [getattr(import_module(package), name) for home, name in home_names() if home == package]
    every = {f"{kind.__name__}.{name}" for kind in kinds if isinstance(kind, type) for name in members(kind)}
    assert {name for name in every if name.partition(".")[2] not in found} == set(), f"use them in {FOLDER}"
