"""Each class has a name of its own, and a function is short or says beside it why it is not."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PACKAGE = ROOT / "sfjobs"
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST_FUNCTION = 60
MOST_BRANCHES = 12
BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case, ast.IfExp)
REASON = "# Long because "


def branches_of(function: ast.AST) -> int:
    """How many branches a function has, without those of functions and classes within it."""
    count = 0
    todo = list(ast.iter_child_nodes(function))
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue
        count += isinstance(node, BRANCHES)
        todo += ast.iter_child_nodes(node)
    return count


def too_long(source: str) -> Iterator[str]:
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length, branches = (node.end_lineno or node.lineno) - node.lineno + 1, branches_of(node)
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            has_reason = first > 1 and lines[first - 2].strip().startswith(REASON)
            if (length > LONGEST_FUNCTION or branches > MOST_BRANCHES) and not has_reason:
                yield f"{node.name}: {length} lines, {branches} branches"


def test_a_long_function_is_found_and_a_reason_counts() -> None:
    body = "def f(x):\n" + "    x += 1\n" * LONGEST_FUNCTION
    assert list(too_long(body)) == [f"f: {LONGEST_FUNCTION + 1} lines, 0 branches"]
    assert list(too_long(f"{REASON}it is a table.\n{body}")) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_function_can_be_read_at_once(path: Path) -> None:
    assert list(too_long(path.read_text(encoding="utf-8"))) == []


def test_no_two_classes_share_a_name() -> None:
    places = defaultdict(set)
    for path in MODULES:
        name = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not name.startswith("sync/"):  # the twins share names on purpose
                places[node.name].add(name)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
