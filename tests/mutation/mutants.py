"""The mutants of a module: mutmut's operators, without changes of texts and of what is logged."""

from __future__ import annotations

import ast
import difflib
from dataclasses import dataclass
from pathlib import Path

import libcst
from libcst.metadata import ByteSpanPositionProvider, CodeSpan, MetadataWrapper
from mutmut.mutation.file_mutation import Mutation, create_mutations


@dataclass(frozen=True)
class Mutant:
    """
    A changed module. ``line`` is the first line that differs, ``change`` the difference. ``statement`` is the line at which the
    statement begins that is changed: a test that reaches the one reaches the other.
    """

    line: int
    statement: int
    change: str
    source: str


def mutants_of(path: Path) -> list[Mutant]:
    """Return the mutants of a module's functions, in the order of their lines."""
    source = path.read_text(encoding="utf-8")
    logged = _logged_lines(source)
    module, mutations, _, _ = create_mutations(str(path), source)
    spans = MetadataWrapper(module, unsafe_skip_copy=True).resolve(ByteSpanPositionProvider)
    found: dict[str, Mutant] = {}
    for mutation in mutations:
        is_text = isinstance(mutation.original_node, libcst.SimpleString | libcst.FormattedString)
        if mutation.contained_by_top_level_function is None or is_text:
            continue
        changed = _changed(module, source.encode(), mutation, spans.get(mutation.original_node))
        mutant = _mutant(source, changed)
        if mutant is not None and mutant.line not in logged:
            found.setdefault(changed, mutant)
    return sorted(found.values(), key=lambda mutant: mutant.line)


def _changed(module: libcst.Module, source: bytes, mutation: Mutation, span: CodeSpan | None) -> str:
    """Return the source with the mutation: cut and pasted where that is safe, since libcst takes 50 ms to replace a node."""
    before, after = module.code_for_node(mutation.original_node), module.code_for_node(mutation.mutated_node)
    if span is not None and "\n" not in before:
        end = span.start + span.length
        if source[span.start : end] == before.encode():
            return (source[: span.start] + after.encode() + source[end:]).decode()
    changed = module.deep_replace(mutation.original_node, mutation.mutated_node)
    assert isinstance(changed, libcst.Module)
    return changed.code


def _mutant(source: str, changed: str) -> Mutant | None:
    try:
        compile(changed, "mutant", "exec")
    except SyntaxError:
        return None
    lines = list(difflib.unified_diff(source.splitlines(), changed.splitlines(), n=0, lineterm=""))
    if not lines:
        return None
    first = int(lines[2].split()[1].lstrip("-").split(",")[0])
    return Mutant(first, _statement_at(source, first), "\n".join(lines[3:]), changed)


def _statement_at(source: str, line: int) -> int:
    statements = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt | ast.ExceptHandler))
    return max(node.lineno for node in statements if node.lineno <= line <= (node.end_lineno or node.lineno))


def _logged_lines(source: str) -> set[int]:
    """The lines of calls like ``logger.info(…)``."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "logger"
        ):
            lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines
