"""The order of the rooms, read from the imports of every file: downward only, httpx at the door, the platform next door."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Literal

import pytest

PACKAGE = Path(__file__).parent.parent / "sfjobs"
LONGEST_FILE = 400

# From the top: a file imports from its own room and from those below. A new file has to be put into one.
ROOMS: list[set[str]] = [
    {"cli", "__main__"},
    {"sync", "_bridge", "_desk"},
    {"engine", "groups", "group", "group_progress", "group_sending", "progress"},
    {
        "connection",
        "accounts",
        "recovery",
        "job",
        "submission",
        "dispatch",
        "sending",
        "events",
        "downloads",
        "cancellations",
        "refusals",
        "why",
    },
    {"api", "inquirers", "submitting"},
    {"journal"},
    {"poller", "watchlist", "agenda", "weather", "listening", "feed", "lately", "tickets", "results"},
    {
        "transport",
        "receiving",
        "channel",
        "direct",
        "sockets",
        "proxies",
        "auth",
        "exchange",
        "retry",
        "window",
        "pace",
    },
    {"wire", "npy", "sse", "programs"},
    {"config"},
    {"tracing"},
    {"models", "errors", "html", "tasks", "closing"},
]
FLOOR = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}
MAY_IMPORT_HTTPX = {"channel", "direct"}
SHARED_WITH_THE_PLATFORM = {"models", "errors"}

When = Literal["at import", "in a function", "for types"]


@dataclass(frozen=True)
class Import:
    """``target`` is dotted and absolute; ``when`` it happens."""

    source: str
    target: str
    line: int
    when: When

    def __str__(self) -> str:
        return f"{self.source}, line {self.line}: imports {self.target} {self.when}"


def files() -> dict[str, Path]:
    """All files by their dotted names within the package."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def imports_of(name: str, path: Path) -> Iterator[Import]:
    package = ["sfjobs", *path.relative_to(PACKAGE).parts[:-1]]

    def targets(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            # `from . import wire` names a file, `from .wire import device` something in it
            yield from (
                f"{origin}.{alias.name}" if is_file(f"{origin}.{alias.name}") else origin for alias in node.names
            )

    def walk(node: ast.AST, when: When) -> Iterator[Import]:
        for target in targets(node):
            yield Import(name, target, getattr(node, "lineno", 0), when)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            when = "in a function"
        for_types = isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        skipped = node.orelse if for_types and isinstance(node, ast.If) else []
        for child in ast.iter_child_nodes(node):
            yield from walk(child, "for types" if for_types and child not in skipped else when)

    return walk(ast.parse(path.read_text(encoding="utf-8")), "at import")


def is_file(dotted: str) -> bool:
    path = PACKAGE.parent.joinpath(*dotted.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


IMPORTS = [found for name, path in files().items() for found in imports_of(name, path)]


def room_of(dotted: str) -> str | None:
    """The first part within the package; None for other packages, and for the package itself, which imports nothing."""
    first, _, rest = dotted.partition(".")
    return rest.partition(".")[0] or None if first == "sfjobs" else None


def is_of_the_client(name: str) -> bool:
    return name.partition(".")[0] not in ("platform", "sfjobs", "__init__", "")


def shown(found: list[Import]) -> str:
    return "\n".join(map(str, found))


def test_the_reader_of_imports_sees_every_kind() -> None:
    kinds = {found.when for found in IMPORTS}
    assert kinds == {"at import", "in a function", "for types"}


def test_every_file_of_the_client_has_a_room() -> None:
    rooms = {name.partition(".")[0] for name in files() if is_of_the_client(name)}
    assert rooms <= FLOOR.keys()


@pytest.mark.parametrize("when", ["at import", "in a function", "for types"])
def test_imports_run_downward_only(when: When) -> None:
    upward = [
        found
        for found in IMPORTS
        if found.when == when and is_of_the_client(found.source) and (room := room_of(found.target)) in FLOOR
        if FLOOR[room or ""] < FLOOR[found.source.partition(".")[0]]
    ]
    assert not upward, shown(upward)


def test_no_files_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for found in IMPORTS:
        if found.when != "for types" and found.target.startswith("sfjobs."):
            graph.setdefault(found.source, set()).add(found.target.removeprefix("sfjobs."))
    TopologicalSorter({name: targets - {name} for name, targets in graph.items()}).prepare()


def test_httpx_is_imported_at_the_door_only() -> None:
    elsewhere = [
        found for found in IMPORTS if found.target.partition(".")[0] == "httpx" and found.source not in MAY_IMPORT_HTTPX
    ]
    assert not elsewhere, shown(elsewhere)


def test_the_client_does_not_know_the_platform() -> None:
    known = [
        found
        for found in IMPORTS
        if room_of(found.target) == "platform" and is_of_the_client(found.source) and not found.source.startswith("cli")
    ]
    assert not known, shown(known)


def test_the_commands_load_the_platform_only_when_they_run() -> None:
    early = [
        found
        for found in IMPORTS
        if found.source.startswith("cli") and room_of(found.target) == "platform" and found.when == "at import"
    ]
    assert not early, shown(early)


def test_the_platform_shares_no_code_with_the_client() -> None:
    shared = [
        found
        for found in IMPORTS
        if found.source.startswith("platform") and room_of(found.target) in FLOOR.keys() - SHARED_WITH_THE_PLATFORM
    ]
    assert not shared, shown(shared)


def test_nothing_imports_from_the_package_itself_but_its_version() -> None:
    lazy = []
    for name, path in files().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module == "sfjobs" or (not node.module and node.level)):
                depth = len(path.relative_to(PACKAGE).parts)
                is_root = node.module == "sfjobs" or node.level == depth
                lazy += [
                    f"{name}: {alias.name}"
                    for alias in node.names
                    if is_root and alias.name != "__version__" and not is_file(f"sfjobs.{alias.name}")
                ]
    assert lazy == []


@pytest.mark.parametrize("name", files())
def test_a_file_can_be_read_in_a_sitting(name: str) -> None:
    assert len(files()[name].read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


def test_what_knows_httpx_is_reached_through_the_transport_only() -> None:
    ways = {
        (found.source, room_of(found.target))
        for found in IMPORTS
        if room_of(found.target) in MAY_IMPORT_HTTPX and found.source != "transport"
    }
    assert ways == {("channel", "direct")}


def test_the_seam_for_tests_is_the_only_name_of_httpx_that_travels() -> None:
    travelling = {
        alias.name
        for path in files().values()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module in ("transport", "sfjobs.transport")
        for alias in node.names
    }
    tree = ast.parse(files()["channel"].read_text(encoding="utf-8"))
    made_of_httpx = {
        node.target.id
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None
        if "httpx" in ast.unparse(node.value)
    }
    assert travelling & made_of_httpx == {"HTTPTransport"}
