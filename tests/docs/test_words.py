"""The language of code and documents: the field's terms and plain English, without words that only this project would use."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

# CONTRIBUTING names the words to use instead.
NOT_USED = re.compile(
    r"\b(weather|outlasts?|tempo|governors?|desks?|errands?|vigils?|pursuits?|rolls?|fates?|agendas?|lately|harmless|guards?"
    r"|patience|silence|reigns?|heirs?|whoever|whichever|how-manyth|nobody|somebody|of its own accord|there is none)\b",
    re.IGNORECASE,
)
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "examples").rglob("*.md")),
    *sorted((ROOT / "examples").glob("*.py")),
    *sorted((ROOT / ".github").rglob("*.md")),
    ROOT / "noxfile.py",
]
MODULES = sorted((ROOT / "sfjobs").rglob("*.py"))


def sentences_of(path: Path) -> Iterator[tuple[int, str]]:
    """Docstrings, comments, and every other text in a module that has a space in it, with their lines."""
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
            yield node.lineno, node.value


def found_in(path: Path) -> list[str]:
    if path.suffix == ".py":
        texts = list(sentences_of(path))
    else:
        # CONTRIBUTING has a table of these words.
        lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        texts = [(number, line) for number, line in lines if not line.startswith("| ~~")]
    return [f"{path.relative_to(ROOT)}:{line}: {word[0]}" for line, text in texts for word in NOT_USED.finditer(text)]


def test_the_reader_finds_such_words() -> None:
    assert [word[0] for word in NOT_USED.finditer("Whoever hears of the weather, and a controller.")] == [
        "Whoever",
        "weather",
    ]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_uses_the_terms_of_the_field(path: Path) -> None:
    assert found_in(path) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / "sfjobs")))
def test_a_module_uses_the_terms_of_the_field(path: Path) -> None:
    assert found_in(path) == []
