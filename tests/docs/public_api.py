"""
The public names of sfjobs with their signatures and first docstring lines, as text. ``public_api.txt`` has what it was when
it was last written; ``python -m tests.docs.public_api`` writes it again.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

FILE = Path(__file__).with_suffix(".txt")
PACKAGES = [
    f"sfjobs{name}" for name in ("", ".models", ".errors", ".results", ".config", ".sync", ".platform", ".testing")
]
STATEMENTS = {
    "__await__": "await",
    "__aenter__": "async with",
    "__aiter__": "async for",
    "__enter__": "with",
    "__iter__": "for",
    "__len__": "len()",
    "__getitem__": "[]",
}
NOT_MADE_BY_CALLERS = {"Completions", "Events", "FakeJob", "JobStream", "ResultStream", "ScriptedPlatform", "Served"}


def main() -> None:
    FILE.write_text("\n".join(lines()) + "\n", encoding="utf-8")


def lines() -> Iterator[str]:
    """The whole text. A name that stands in several packages is described in the first."""
    home: dict[int, str] = {}
    for package in PACKAGES:
        yield package
        module = import_module(package)
        for name in names(module):
            value = getattr(module, name)
            if not isinstance(value, type) and not inspect.isfunction(value):
                yield f"    {name}"
            elif id(value) in home:
                yield f"    {name} = {home[id(value)]}.{name}"
            else:
                home[id(value)] = package
                yield from (f"    {line}" for line in described(name, value))
        yield ""


def names(module: ModuleType) -> list[str]:
    """``__all__``, or what the module's file defines and what it imports ``as`` the same name."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    found = set[str]()
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.name for alias in node.names if alias.asname == alias.name}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return sorted(name for name in found if not name.startswith("_"))


def described(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, type):
        yield f"{'async ' * inspect.iscoroutinefunction(value)}def {name}{signature(value)}"
        yield f"    {first_line(value)}"
        return
    bases = ", ".join(base.__name__ for base in value.__bases__ if is_public(base))
    yield f"class {name}({bases})" if bases else f"class {name}"
    yield f"    {first_line(value)}"
    if issubclass(value, enum.Enum):
        yield from (f"    {member.name} = {member.value!r}" for member in value)
    elif "__init__" in vars(value) and name not in NOT_MADE_BY_CALLERS:
        yield f"    {name}{signature(value)}"
    if statements := [word for special, word in STATEMENTS.items() if is_ours(value, special)]:
        yield f"    {', '.join(statements)}"
    fields = {field.name for field in dataclasses.fields(value)} if dataclasses.is_dataclass(value) else set[str]()
    shown = fields | set(getattr(value, "__members__", ()))
    for member, found in sorted(inspect.getmembers_static(value)):
        if not member.startswith("_") and member not in shown and is_ours(value, member):
            yield from (f"    {line}" for line in described_member(member, found))


def described_member(name: str, found: Any) -> Iterator[str]:
    if isinstance(found, property):
        yield f"{name}: {inspect.signature(found.fget).return_annotation}" if found.fget else name
        yield f"    {first_line(found)}"
    elif callable(getattr(found, "__func__", found)):
        kind = f"{type(found).__name__} " if isinstance(found, classmethod | staticmethod) else ""
        function = getattr(found, "__func__", found)
        is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        yield f"{kind}{'async ' * is_async}def {name}{signature(function)}"
        yield f"    {first_line(function)}"
    elif isinstance(found, bool | int | float | str):
        yield f"{name} = {found!r}"


def is_public(base: type) -> bool:
    return not base.__name__.startswith("_") and base.__name__ not in (
        "object",
        "Closeable",
        "Generic",
        "Handle",
        "Protocol",
    )


def is_ours(kind: type, member: str) -> bool:
    """Whether the member comes from a class of sfjobs that is no public base with lines of its own."""
    owner = next(base for base in kind.__mro__ if member in vars(base)) if hasattr(kind, member) else object
    return owner.__module__.startswith("sfjobs") and (owner is kind or not is_public(owner))


class Written(str):
    """An annotation as the source has it, without the quotes that ``inspect`` puts around a string."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def signature(function: Any) -> str:
    try:
        found = inspect.signature(function)
    except ValueError:
        return "(...)"
    parameters = [
        parameter.replace(annotation=_written(parameter.annotation), default=_default(parameter.default))
        for parameter in found.parameters.values()
        if parameter.name not in ("self", "cls")
    ]
    return str(found.replace(parameters=parameters, return_annotation=_written(found.return_annotation)))


def _written(annotation: Any) -> Any:
    return Written(annotation) if isinstance(annotation, str) else annotation


def _default(value: Any) -> Any:
    """Functions show their addresses, which differ from run to run."""
    return Written("...") if inspect.isfunction(value) else value


def first_line(value: Any) -> str:
    own = value.__doc__ if not isinstance(value, type) else vars(value).get("__doc__")
    return inspect.cleandoc(own or "").partition("\n")[0] or "(no docstring)"


if __name__ == "__main__":
    main()
