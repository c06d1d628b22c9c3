"""A secret shows its text only to a caller of ``reveal``."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import traceback

import pytest
from rich.pretty import pretty_repr

from sfjobs.config import Secret

TEXT = "s3cr3t-text"


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        format,
        "{}".format,
        "{!r:>20}".format,
        lambda secret: repr([secret]),
        pretty_repr,
    ],
)
def test_no_way_of_printing_shows_the_text(show):
    assert TEXT not in show(Secret(TEXT))
    assert "***" in show(Secret(TEXT))


def test_reveal_gives_the_text():
    assert Secret(TEXT).reveal() == TEXT


def test_secrets_of_equal_text_are_equal_and_hash_alike():
    assert Secret(TEXT) == Secret(TEXT)
    assert hash(Secret(TEXT)) == hash(Secret(TEXT))


@pytest.mark.parametrize("other", [Secret("another"), Secret(""), TEXT, None])
def test_a_secret_differs_from_any_other_text_and_from_plain_strings(other):
    assert Secret(TEXT) != other


def test_the_hash_is_not_that_of_the_text():
    assert hash(Secret(TEXT)) != hash(TEXT)


def test_a_secret_refuses_to_be_pickled():
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Secret(TEXT))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_copies_are_still_secrets(duplicate):
    assert duplicate(Secret(TEXT)) == Secret(TEXT)


def test_asdict_keeps_the_secret_wrapped():
    @dataclasses.dataclass
    class Holder:
        key: Secret

    assert TEXT not in repr(dataclasses.asdict(Holder(Secret(TEXT))))


def test_no_attribute_holds_the_text():
    secret = Secret(TEXT)
    with pytest.raises(TypeError):
        vars(secret)
    values = [getattr(secret, name) for name in dir(secret) if name != "reveal"]
    assert TEXT not in values


def test_non_ascii_texts_compare():
    assert Secret("schlüssel\ud800") == Secret("schlüssel\ud800")


@pytest.mark.parametrize("value", [None, Secret(TEXT)])
def test_wrap_returns_what_needs_no_wrapping(value):
    assert Secret.wrap(value) is value


def test_wrap_hides_a_string():
    assert Secret.wrap(TEXT) == Secret(TEXT)


def test_a_traceback_with_locals_shows_no_text():
    def fails(secret: Secret) -> None:
        raise ValueError(f"could not use {secret}")

    with pytest.raises(ValueError, match="could not use") as caught:
        fails(Secret(TEXT))
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert TEXT not in shown
