"""Folders are layers: imports run downward only, httpx stays in three files, and the platform and the client stay apart."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Literal

import pytest

from tests.support.paths import ROOT

PACKAGE = ROOT / "sfjobs"
LONGEST_FILE = 400

# From the top. A module imports from its own layer's folder and from layers below. A new folder gets a line here.
CLIENT = [
    ["__main__"],
    ["cli"],
    ["testing"],
    ["sync"],
    ["_client"],
    ["_submission"],
    ["_jobs"],
    ["results"],
    ["_tracking"],
    ["_journal"],
    ["_http"],
    ["config"],
    ["_progress"],
    ["_protocol"],
    ["errors"],
    ["models"],
    ["_util", "_version"],
]
# The layers of the embedded platform; below them only what it shares with the client.
PLATFORM = [
    ["server"],
    ["runtime"],
    ["api"],
    ["jobs"],
    ["store"],
    ["settings"],
    ["execution"],
    ["results"],
    ["simulation", "devices"],
    ["records", "limits", "blackbird", "private_files"],
    ["program"],
    ["errors"],
]
SHARED_WITH_THE_PLATFORM = {"models", "errors", "_version"}
PUBLIC = {"errors", "models", "config", "results", "sync", "cli", "platform", "testing", "__main__"}
MAY_IMPORT_HTTPX = {f"_http.{name}" for name in ("adapter", "failures", "http11", "httpx_clients", "streaming")}
TESTING_WITH_HTTPX = {"testing.embedded", "testing.in_memory"}
# `Job.connection` is annotated with the class that makes jobs.
THE_ONE_ALLOWED_UPWARD = ("_jobs.job", "sfjobs._client.connection", "for types")

When = Literal["at import", "in a function", "for types"]


@dataclass(frozen=True)
class Import:
    """``source`` is dotted within the package, ``target`` absolute; ``when`` says when the import runs."""

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


def part(dotted: str, above: str) -> str | None:
    """The next part of a dotted name behind ``above``; None for names that lie elsewhere, and for ``above`` itself."""
    return dotted[len(above) + 1 :].partition(".")[0] or None if dotted.startswith(f"{above}.") else None


def client_layer(dotted: str) -> str | None:
    layer = part(dotted, "sfjobs")
    return None if layer == "platform" else layer


def platform_layer(dotted: str) -> str | None:
    return part(dotted, "sfjobs.platform")


def floors(layers: Iterable[Iterable[str]]) -> dict[str, int]:
    return {layer: floor for floor, row in enumerate(layers) for layer in row}


def shown(found: Iterable[Import]) -> str:
    return "\n".join(map(str, found))


def test_the_reader_of_imports_sees_every_kind() -> None:
    assert {found.when for found in IMPORTS} == {"at import", "in a function", "for types"}


def test_every_file_has_a_layer() -> None:
    assert {client_layer(f"sfjobs.{name}") for name in files()} - {None, "sfjobs"} <= floors(CLIENT).keys() | {
        "__init__"
    }
    assert {platform_layer(f"sfjobs.{name}") for name in files()} - {None} == floors(PLATFORM).keys()


def test_what_is_not_public_begins_with_an_underscore() -> None:
    tops = {name.partition(".")[0] for name in files()} - {"sfjobs", "__init__"}
    assert {top for top in tops if not top.startswith("_")} | {"__main__"} == PUBLIC


@pytest.mark.parametrize("when", ["at import", "in a function", "for types"])
@pytest.mark.parametrize("layers", [CLIENT, PLATFORM], ids=["client", "platform"])
def test_imports_run_downward_only(layers: list[list[str]], when: When) -> None:
    layer_of = client_layer if layers is CLIENT else platform_layer
    floor = floors(layers)
    upward = [
        found
        for found in IMPORTS
        if found.when == when and (found.source, found.target, found.when) != THE_ONE_ALLOWED_UPWARD
        if (above := layer_of(f"sfjobs.{found.source}")) in floor and (below := layer_of(found.target)) in floor
        if above != below and floor[below or ""] <= floor[above or ""]
    ]
    assert not upward, shown(upward)


def test_no_files_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for found in IMPORTS:
        if (found.source, found.target, found.when) != THE_ONE_ALLOWED_UPWARD and found.target.startswith("sfjobs."):
            graph.setdefault(found.source, set()).add(found.target.removeprefix("sfjobs."))
    TopologicalSorter({name: targets - {name} for name, targets in graph.items()}).prepare()


def test_helpers_know_nothing_of_sfjobs() -> None:
    known = [
        found
        for found in IMPORTS
        if found.source.startswith("_util") and client_layer(found.target) not in (None, "_util")
    ]
    assert not known, shown(known)


def test_httpx_is_imported_in_three_files_only() -> None:
    elsewhere = [
        found
        for found in IMPORTS
        if found.target.partition(".")[0] == "httpx" and found.source not in MAY_IMPORT_HTTPX | TESTING_WITH_HTTPX
    ]
    assert not elsewhere, shown(elsewhere)


def test_the_files_that_know_httpx_are_used_by_the_transport_only() -> None:
    users = {
        (found.source, found.target.removeprefix("sfjobs."))
        for found in IMPORTS
        if found.target.removeprefix("sfjobs.") in MAY_IMPORT_HTTPX
    }
    assert users == {
        ("__init__", "_http.http11"),
        ("_http.adapter", "_http.failures"),
        ("_http.adapter", "_http.http11"),
        ("_http.adapter", "_http.httpx_clients"),
        ("_http.adapter", "_http.streaming"),
        ("_http.httpx_clients", "_http.failures"),
        ("_http.httpx_clients", "_http.http11"),
        ("_http.streaming", "_http.failures"),
        ("_http.streaming", "_http.http11"),
        ("_http.transport", "_http.adapter"),
        ("_http.transport", "_http.failures"),
    }


def test_the_seam_for_tests_is_the_only_name_of_httpx_that_travels() -> None:
    travelling = {
        alias.name
        for path in files().values()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith("_http.transport")
        for alias in node.names
    }
    tree = ast.parse(files()["_http.adapter"].read_text(encoding="utf-8"))
    made_of_httpx = {
        node.target.id
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None
        if "httpx" in ast.unparse(node.value)
    }
    assert travelling & made_of_httpx == {"HTTPTransport"}


def test_the_client_does_not_know_the_platform() -> None:
    known = [
        found
        for found in IMPORTS
        if found.target.startswith("sfjobs.platform") and not found.source.startswith(("platform", "cli"))
        if found.source != "testing.embedded"  # which puts a network with faults before it
    ]
    assert not known, shown(known)


def test_the_commands_load_the_platform_only_when_they_run() -> None:
    early = [
        found
        for found in IMPORTS
        if found.source.startswith("cli") and found.target.startswith("sfjobs.platform") and found.when == "at import"
    ]
    assert not early, shown(early)


def test_the_platform_shares_no_code_with_the_client() -> None:
    shared = [
        found
        for found in IMPORTS
        if found.source.startswith("platform") and client_layer(found.target) not in {None, *SHARED_WITH_THE_PLATFORM}
    ]
    assert not shared, shown(shared)


def test_nothing_imports_a_name_from_the_package_itself() -> None:
    lazy = []
    for name, path in files().items():
        depth = len(path.relative_to(PACKAGE).parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (
                node.module == "sfjobs" or (not node.module and node.level == depth)
            ):
                lazy += [f"{name}: {alias.name}" for alias in node.names if not is_file(f"sfjobs.{alias.name}")]
    assert lazy == []


def test_examples_and_documents_use_public_modules_only() -> None:
    texts = [*(ROOT / "examples").rglob("*.*"), ROOT / "README.md"]
    private = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in texts
        if path.suffix in (".py", ".md", ".ipynb")
        for name in re.findall(r"(?:from|import) (sfjobs\.[\w.]*\b_\w+|sfjobs\._\w+)", path.read_text(encoding="utf-8"))
    }
    assert private == set()


@pytest.mark.parametrize("name", files())
def test_a_file_can_be_read_in_a_sitting(name: str) -> None:
    assert len(files()[name].read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


def test_the_map_names_every_layer() -> None:
    named = set(re.findall(r"^    ([\w.]+?)(?:/|\.py)\s", map_of(PACKAGE), re.MULTILINE)) | {"models"}
    assert floors(CLIENT).keys() - {"__main__", "_version"} | {"platform"} <= named


def map_of(folder: Path) -> str:
    return ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""


# What the map says of five questions, and what stands in each file.
QUESTIONS = {
    "a 429 slows requests down": "def refused",
    "a broken download goes on": "If-Range",
    "a group is found again": "async def open",
    "a job's limits are enforced": "_time_limit",
    "the exit code of a timed-out wait": "TIMEOUT = 3",
}


def test_the_map_answers_five_questions() -> None:
    places = dict(re.findall(r"^    (\S.*?)  +(\S+/\S+\.py)$", map_of(PACKAGE), re.MULTILINE))
    assert places.keys() == QUESTIONS.keys()
    for question, place in places.items():
        assert QUESTIONS[question] in (PACKAGE / place).read_text(encoding="utf-8"), question


@pytest.mark.parametrize("folder", sorted({path.parent for path in PACKAGE.rglob("*.py")} - {PACKAGE}))
def test_a_folder_has_a_map_of_its_modules(folder: Path) -> None:
    inside = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    text = map_of(folder)
    assert [name for name in sorted(inside - {"__init__", "__main__"}) if name not in text] == []
