"""The blocking API equals the async one: names, parameters, defaults, annotations and first docstring lines."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import sfjobs
from sfjobs import sync
from sfjobs._jobs import events
from sfjobs._jobs import waiting as groups

PAIRS = [
    (sfjobs.Connection, sync.Connection),
    (sfjobs.Job, sync.Job),
    (sfjobs.RemoteEngine, sync.RemoteEngine),
    (groups.Completions, sync.Completions),
    (events.Events, sync.Events),
    (sfjobs.JobStream, sync.JobStream),
    (sfjobs.ResultStream, sync.ResultStream),
    (sfjobs.JobGroup, sync.JobGroup),
]
FUNCTIONS = [
    (sfjobs.wait_all, sync.wait_all),
    (sfjobs.as_completed, sync.as_completed),
    (sfjobs.first, sync.first),
    (sfjobs.cancel_all, sync.cancel_all),
]
RENAMED = {
    "aclose": "close",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
}
SEAMS = {
    # between the two sides
    "advance", "__await__", "__del__",
}  # fmt: skip
SPECIAL = {*RENAMED, *RENAMED.values()}
MADE_BY_CALLERS = {sfjobs.Connection, sfjobs.Job, sfjobs.RemoteEngine, sync.Connection, sync.Job, sync.RemoteEngine}


def public(kind: type) -> dict[str, Any]:
    """Public members and the special methods that have twins, inherited or not."""
    special = SPECIAL | ({"__init__"} if kind in MADE_BY_CALLERS else set())
    return {
        name: value
        for name, value in inspect.getmembers_static(kind)
        if not name.startswith("_") or (name in special and inspect.isfunction(value))
        if name not in SEAMS
        if not inspect.ismemberdescriptor(value)
    }


def in_words(annotation: str) -> str:
    """An annotation of the async side as the blocking side writes it."""
    return annotation.replace("AsyncIterator", "Iterator")


def with_jobs(annotation: str) -> str:
    """An annotation of the blocking side, whose iterators have the type of job as a parameter, as the async side writes it."""
    return (
        annotation.replace("[JobT]", "[Job]")
        .replace("JobT ", "Job ")
        .replace("JobStream[Job]", "JobStream")
        .replace("Events[Job]", "Events")
    )


def differences(theirs: Any, ours: Any) -> list[str]:
    found = []
    if isinstance(theirs, property) or isinstance(ours, property):
        if type(theirs) is not type(ours):
            return ["a property on one side only"]
        theirs, ours = theirs.fget, ours.fget
    theirs, ours = inspect.unwrap(theirs), inspect.unwrap(ours)
    if isinstance(theirs, classmethod):
        theirs, ours = theirs.__func__, ours.__func__
    if inspect.iscoroutinefunction(ours) or inspect.isasyncgenfunction(ours):
        found.append("the blocking side is not blocking")
    their_parameters = list(inspect.signature(theirs).parameters.values())
    our_parameters = list(inspect.signature(ours).parameters.values())
    for parameter, twin in zip(their_parameters, our_parameters, strict=False):
        same = (parameter.name, parameter.kind, parameter.default) == (twin.name, twin.kind, twin.default)
        if not same or in_words(str(parameter.annotation)) != str(twin.annotation):
            found.append(f"{parameter} is not {twin}")
    if len(their_parameters) != len(our_parameters):
        found.append(f"{len(their_parameters)} parameters are not {len(our_parameters)}")
    returns = (
        in_words(str(inspect.signature(theirs).return_annotation)),
        with_jobs(str(inspect.signature(ours).return_annotation)),
    )
    if returns[0] != returns[1]:
        found.append(f"-> {returns[0]} is not -> {returns[1]}")
    first_lines = [(inspect.getdoc(side) or "").partition("\n")[0] for side in (theirs, ours)]
    if first_lines[0] != first_lines[1]:
        found.append(f"{first_lines[0]!r} is not {first_lines[1]!r}")
    return found


@pytest.mark.parametrize(("theirs", "ours"), PAIRS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_a_class_has_the_same_members_as_its_twin(theirs: type, ours: type) -> None:
    names = {RENAMED.get(name, name) for name in public(theirs)}
    assert names == set(public(ours))


@pytest.mark.parametrize(("theirs", "ours"), PAIRS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_member_equals_its_twin(theirs: type, ours: type) -> None:
    members, twins = public(theirs), public(ours)
    found = {name: differences(member, twins[RENAMED.get(name, name)]) for name, member in members.items()}
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.parametrize(
    ("theirs", "ours"), FUNCTIONS, ids=lambda function: f"{function.__module__}.{function.__name__}"
)
def test_every_function_equals_its_twin(theirs: Any, ours: Any) -> None:
    assert differences(theirs, ours) == []


def test_every_function_of_the_async_api_has_a_twin() -> None:
    functions = {name for name in sfjobs.__all__ if inspect.isfunction(getattr(sfjobs, name))}
    assert functions == {theirs.__name__ for theirs, _ in FUNCTIONS}


# -- the test itself -----------------------------------------------------------------------------------------------------


class Left:
    """A class with one of everything."""

    async def method(self, a: int, *, b: str = "x") -> int:
        """Does it."""
        return 1

    @property
    def read(self) -> int:
        return 1


class Same:
    def method(self, a: int, *, b: str = "x") -> int:
        """Does it."""
        return 1

    @property
    def read(self) -> int:
        return 1


def altered(**members: Any) -> type:
    return type("Altered", (Same,), members)


def other_default(self: Any, a: int, *, b: str = "y") -> int:
    """Does it."""
    return 1


def other_name(self: Any, a: int, *, c: str = "x") -> int:
    """Does it."""
    return 1


def other_type(self: Any, a: float, *, b: str = "x") -> int:
    """Does it."""
    return 1


def other_words(self: Any, a: int, *, b: str = "x") -> int:
    """Does something else."""
    return 1


def one_more(self: Any, a: int, *, b: str = "x", c: int = 1) -> int:
    """Does it."""
    return 1


async def not_blocking(self: Any, a: int, *, b: str = "x") -> int:
    """Does it."""
    return 1


def test_equal_twins_have_no_differences() -> None:
    assert differences(Left.method, Same.method) == []
    assert differences(Left.read, Same.read) == []


@pytest.mark.parametrize("method", [other_default, other_name, other_type, other_words, one_more, not_blocking])
def test_a_difference_is_found(method: Any) -> None:
    method.__annotations__.pop("self", None)
    twin = altered(method=method)
    assert differences(Left.method, twin.method) != []  # type: ignore[attr-defined]  # made just now


def test_a_method_in_place_of_a_property_is_a_difference() -> None:
    assert differences(Left.read, Same.method) != []
