"""The public API is what ``public_api.txt`` says, described, and annotated with types that can be evaluated."""

from __future__ import annotations

import ast
import inspect
import pickle
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from typing import Any, get_type_hints

import pytest

import sfjobs
from sfjobs._jobs.events import Events
from sfjobs._jobs.waiting import Completions
from tests.docs import public_api

PUBLIC = {
    f"{package}.{name}": getattr(import_module(package), name)
    for package in public_api.PACKAGES
    for name in public_api.names(import_module(package))
}
CLASSES = {path: value for path, value in PUBLIC.items() if isinstance(value, type)}
RETURNED = {f"{kind.__module__}.{kind.__name__}": kind for kind in (Completions, Events)}
FUNCTIONS = {path: value for path, value in PUBLIC.items() if inspect.isfunction(value)}
HOMELESS = {name for name, kind in CLASSES.items() if kind.__module__ == "sfjobs"}


def functions_of(kind: type) -> Iterator[Any]:
    for value in vars(kind).values():
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if inspect.isfunction(function) and function.__module__.startswith("sfjobs"):
            yield function


def imported_for_types(module: str) -> dict[str, Any]:
    """What a module imports under ``if TYPE_CHECKING``; packages that are not installed are left out."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    package = module if hasattr(sys.modules[module], "__path__") else module.rpartition(".")[0]
    found = {}
    for block in [node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]:
        for node in [node for node in block.body if isinstance(node, ast.ImportFrom)]:
            try:
                source = import_module("." * node.level + (node.module or ""), package)
            except ImportError:
                source = None
            found |= {alias.asname or alias.name: getattr(source, alias.name, object) for alias in node.names}
    return found


def test_the_public_api_is_what_was_written_down() -> None:
    written = public_api.FILE.read_text(encoding="utf-8").splitlines()
    present = list(public_api.lines())
    assert present == written, "if this change is meant: python -m tests.docs.public_api"


def test_all_that_is_public_has_a_docstring() -> None:
    bare = [line.strip() for line, below in pairwise(public_api.lines()) if "(no docstring)" in below]
    assert bare == []


@pytest.mark.parametrize("kind", [*CLASSES.values(), *RETURNED.values()], ids=[*CLASSES, *RETURNED])
def test_the_annotations_of_a_class_can_be_evaluated(kind: type) -> None:
    assert get_type_hints(kind) is not None
    for function in functions_of(kind):
        assert get_type_hints(function, localns=imported_for_types(function.__module__)) is not None


@pytest.mark.parametrize("path", FUNCTIONS)
def test_the_annotations_of_a_function_can_be_evaluated(path: str) -> None:
    function = FUNCTIONS[path]
    assert get_type_hints(function, localns=imported_for_types(function.__module__)) is not None


def test_a_class_from_a_private_folder_shows_its_public_place() -> None:
    assert repr(sfjobs.Connection) == "<class 'sfjobs.Connection'>"
    names = {"Connection", "DirectTransport", "Job", "JobGroup", "JobStream", "RemoteEngine"}
    assert {path.removeprefix("sfjobs.") for path in HOMELESS} == names
    for path in HOMELESS:
        assert pickle.loads(pickle.dumps(CLASSES[path])) is CLASSES[path]


INTERNAL = {"api", "asked_at", "bring_result", "cursor", "first_seen", "of", "poller", "record", "request_cancel",
            "submitter", "take", "trouble"}  # fmt: skip


@pytest.mark.parametrize("kind", [sfjobs.Connection, sfjobs.Job, sfjobs.JobGroup, sfjobs.RemoteEngine])
def test_a_public_class_shows_no_internals(kind: type) -> None:
    assert INTERNAL & set(dir(kind)) == set()
