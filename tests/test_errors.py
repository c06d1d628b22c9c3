"""The error tree: as the docstring draws it, unchanged by pickling and copying, and with the right ``retryable``."""

from __future__ import annotations

import builtins
import copy
import inspect
import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest

import sfjobs
from sfjobs import errors
from sfjobs.models import JobStatus

CLASSES: dict[str, type[Exception]] = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == errors.__name__
}
RETRYABLE = {"TransportError", "RequestTimeoutError", "RateLimitedError", "ServerError", "WaitTimeoutError"}
VALUES: dict[str, object] = {
    "method": "GET",
    "url": "http://platform.test/jobs",
    "attempts": 3,
    "sent": False,
    "idempotency_key": "7d9e",
    "name": "demo",
    "status_code": 418,
    "code": "teapot",
    "detail": "short and stout",
    "meta": {"error-code": "x", "nested": [1, {"a": None}]},
    "retry_after": 1.5,
    "job_id": "job-1",
    "status": JobStatus("paused"),
    "done": ("job-2",),
    "pending": ("job-1", "job-3"),
}
COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle 2": lambda error: pickle.loads(pickle.dumps(error, 2)),
    "pickle 5": lambda error: pickle.loads(pickle.dumps(error, 5)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


def fields_of(kind: type[Exception]) -> set[str]:
    """Return the fields that it accepts; a plain ``RuntimeError`` has none, and no signature either."""
    return set(inspect.signature(kind).parameters) & VALUES.keys() if issubclass(kind, errors.SFJobsError) else set()


def example(kind: type[Exception]) -> Exception:
    return kind("what happened", **{field: VALUES[field] for field in fields_of(kind)})


def drawn_tree() -> dict[str, tuple[str | None, str]]:
    """Return each name of the docstring's tree with the name above it and the remark beside it."""
    above: list[tuple[int, str]] = []
    found: dict[str, tuple[str | None, str]] = {}
    for indent, name, remark in re.findall(r"^( {4,})(\w+Error)(?: +(.*))?$", errors.__doc__ or "", re.MULTILINE):
        while above and above[-1][0] >= len(indent):
            above.pop()
        found[name] = (above[-1][1] if above else None, remark)
        above.append((len(indent), name))
    return found


def test_every_class_is_drawn() -> None:
    assert drawn_tree().keys() == CLASSES.keys()


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_has_the_base_that_is_drawn(name: str) -> None:
    parent, remark = drawn_tree()[name]
    also = re.search(r"(?:also|a) (\w+Error)", remark)
    root = () if also and parent is None else ("Exception",)
    drawn = ((parent,) if parent else root) + ((also[1],) if also else ())
    assert tuple(base.__name__ for base in CLASSES[name].__bases__) == drawn


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_that_is_also_a_builtin_is_drawn_with_it(name: str) -> None:
    outside = {base.__name__ for base in CLASSES[name].__mro__ if base.__module__ == builtins.__name__}
    named = set(re.findall(r"\w+Error", drawn_tree()[name][1]))
    assert named <= outside


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_is_public(name: str) -> None:
    assert getattr(sfjobs, name) is CLASSES[name]


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_describes_when_it_is_raised(name: str) -> None:
    assert (CLASSES[name].__doc__ or "").strip()


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", CLASSES)
def test_a_copy_has_all_fields(name: str, way: str) -> None:
    error = example(CLASSES[name])
    twin = COPIES[way](error)
    assert (type(twin), vars(twin)) == (type(error), vars(error))


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", CLASSES)
def test_a_copy_reads_the_same(name: str, way: str) -> None:
    twin = COPIES[way](example(CLASSES[name]))
    assert (str(twin), repr(twin)) == ("what happened", f"{name}('what happened')")


@pytest.mark.parametrize("name", CLASSES)
def test_all_arguments_are_attributes(name: str) -> None:
    error = example(CLASSES[name])
    assert {field: getattr(error, field) for field in fields_of(type(error))} == {
        field: VALUES[field] for field in fields_of(type(error))
    }


@pytest.mark.parametrize("way", COPIES)
def test_a_note_is_copied_along(way: str) -> None:
    error = example(errors.ServerError)
    error.add_note("while counting")
    assert COPIES[way](error).__notes__ == ["while counting"]


def test_a_copy_does_not_share_its_attempts() -> None:
    error = example(errors.ServerError)
    vars(copy.copy(error))["attempts"] = 99
    assert vars(error)["attempts"] == 3


@pytest.mark.parametrize("name", sorted(CLASSES.keys() - {"ConnectionClosedError"}))
def test_retryable_is_set_on_errors_that_a_retry_may_solve(name: str) -> None:
    error = example(CLASSES[name])
    assert isinstance(error, errors.SFJobsError)
    assert error.retryable is (name in RETRYABLE)


@pytest.mark.parametrize("name", CLASSES)
def test_a_message_is_the_only_required_argument(name: str) -> None:
    assert str(CLASSES[name]("what happened")) == "what happened"


@pytest.mark.parametrize("name", ["RequestTimeoutError", "WaitTimeoutError"])
def test_a_timeout_is_a_timeout_error(name: str) -> None:
    with pytest.raises(TimeoutError):
        raise example(CLASSES[name])


def test_a_missing_result_counts_as_a_missing_attribute() -> None:
    class Handle:
        @property
        def result(self) -> object:
            raise errors.ResultUnavailableError("not yet")

    assert not hasattr(Handle(), "result")
