"""Requested ranges: tables of what RFC 9110 says of Range, If-Range and If-None-Match."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from sfjobs.platform.api.byte_ranges import is_cached, requested_range

SIZE = 1000
ETAG = '"abc"'


def headers(name: str, *values: str) -> Headers:
    return Headers(raw=[(name.encode(), value.encode()) for value in values])


@pytest.mark.parametrize(
    ("value", "requested"),
    [
        ("bytes=0-0", range(1)),
        ("bytes=0-999", range(1000)),
        ("bytes=10-19", range(10, 20)),
        ("bytes=999-", range(999, 1000)),
        ("bytes=10-", range(10, 1000)),
        ("bytes=10-999999999999999999", range(10, 1000)),
        ("bytes=-1", range(999, 1000)),
        ("bytes=-1000", range(1000)),
        ("bytes=-5000", range(1000)),
        ("Bytes=1-2", range(1, 3)),
        ("bytes= 1-2 ", range(1, 3)),
        ("bytes=0001-0002", range(1, 3)),
    ],
)
def test_a_range_is_understood(value: str, requested: range) -> None:
    assert requested_range(headers("range", value), ETAG, SIZE) == requested


@pytest.mark.parametrize(
    "value",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=2-1",
        "bytes=a-b",
        "bytes=1-b",
        "bytes=--1",
        "bytes=+1-2",
        "bytes=1",
        "bytes=1.0-2",
        "bytes=0-1,5-6",
        "bytes=0-1,",
        "items=0-1",
        "0-1",
        "bytes=\u0661-\u0662",
        "bytes=" + "9" * 5000 + "-",
        "bytes=0-" + "9" * 5000,
    ],
)
def test_what_is_no_single_range_asks_for_the_whole(value: str) -> None:
    assert requested_range(headers("range", value), ETAG, SIZE) is None


def test_no_range_and_two_ask_for_the_whole() -> None:
    assert requested_range(headers("accept", "*/*"), ETAG, SIZE) is None
    assert requested_range(headers("range", "bytes=0-1", "bytes=0-1"), ETAG, SIZE) is None


@pytest.mark.parametrize("value", ["bytes=1000-", "bytes=1000-2000", "bytes=99999-", "bytes=-0"])
def test_a_range_beyond_the_end_is_unsatisfiable(value: str) -> None:
    requested = requested_range(headers("range", value), ETAG, SIZE)
    assert requested is not None
    assert not requested


@pytest.mark.parametrize(
    ("conditions", "holds"),
    [
        (['"abc"'], True),
        (['W/"abc"'], False),
        (['"abd"'], False),
        (["abc"], False),
        ([""], False),
        (["*"], False),
        (['"abc"', '"abc"'], False),
        (["Wed, 25 Nov 2026 02:28:13 GMT"], False),
    ],
)
def test_if_range_holds_for_this_very_etag_only(conditions: list[str], holds: bool) -> None:
    raw = [(b"range", b"bytes=5000-"), *((b"if-range", text.encode()) for text in conditions)]
    assert (requested_range(Headers(raw=raw), ETAG, SIZE) is not None) == holds


@pytest.mark.parametrize(
    ("values", "known"),
    [
        (['"abc"'], True),
        (['W/"abc"'], True),
        (['"x", "abc"'], True),
        (['"x"', '"abc"'], True),
        (['"x,y" ,W/"abc"'], True),
        (["*"], True),
        ([" * "], True),
        (['"ab"'], False),
        (["abc"], False),
        (['"x,"abc"'], False),
        ([], False),
        ([""], False),
    ],
)
def test_if_none_match_is_compared_weakly(values: list[str], known: bool) -> None:
    assert is_cached(headers("if-none-match", *values), ETAG) is known
