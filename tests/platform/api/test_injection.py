"""Hostile ids, cursors, keys, names and headers are refused, and never appear in a response header."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.platform.stand_ins import PROGRAM
from tests.platform.two_accounts import (
    UNKNOWN_ID,
    WAITS,
    TwoAccounts,
    assert_is_not_injected,
    assert_is_refused,
    open_two_accounts,
    send_raw,
)

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]


@pytest.fixture
async def accounts(tmp_path: Path) -> AsyncIterator[TwoAccounts]:
    async with open_two_accounts(tmp_path) as accounts:
        yield accounts


ODD = [
    "..",
    "../jobs",
    "%2e%2e",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..%5c..%5cwindows",
    "a%2Fb",
    "%2F",
    "%252F",
    "%00",
    "%0d%0aX-Injected:%20yes",
    "%0d%0a%0d%0aHTTP/1.1%20200%20OK",
    "'%20OR%20'1'='1",
    "1;DROP%20TABLE%20jobs;--",
    "%22%20UNION%20SELECT%20*%20FROM%20api_keys--",
    "%25",
    "_",
    "*",
    "%FF%FE",
    "%ED%A0%80",
    "%E2%80%AE",
    "%C3%A9",
    "null",
    "-1",
    "9" * 400,
    "x" * 10_000,
    "%00" * 3_000,
    "{id}",
    "%7B0.__class__%7D",
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd[:30])
async def test_odd_ids_are_like_an_unknown_one(accounts: TwoAccounts, odd: str) -> None:
    for path, method in accounts.routes:
        if "{" in path:
            response = await send_raw(accounts.bench, method, re.sub(r"{\w+}", lambda _: odd, path))
            assert_is_refused(response)
            assert response.status_code == 404, (method, path, response.text)
    assert accounts.bench.store.job(accounts.own[0]) is not None


@pytest.mark.parametrize("cursor", ["", "x", "0", "' OR 1=1", "\r\nX-Injected: yes", "9" * 400, "\u00e9", ".1", "x.1"])
async def test_a_cursor_that_is_none_is_refused(accounts: TwoAccounts, cursor: str) -> None:
    for query, headers in ((f"?since={quote(cursor)}", {}), ("", {"last-event-id": cursor.encode()})):
        response = await send_raw(accounts.bench, "GET", f"/jobs/changes{query}", headers=headers)
        assert (response.status_code, response.json()["code"]) == (410, "cursor-expired")
        assert_is_not_injected(response)


@pytest.mark.parametrize(
    "value", [b"a\r\nX-Injected: yes", b"a\nX-Injected: yes", b"a\rb", b"a\0b", b"\xff", b"a" * 256, b"", b"a b"]
)
async def test_a_key_that_is_none_comes_back_in_no_header(accounts: TwoAccounts, value: bytes) -> None:
    for method, path in {(method, path) for path, method in accounts.routes if method in {"POST", "PATCH"}}:
        response = await send_raw(
            accounts.bench,
            method,
            path.format(id=UNKNOWN_ID),
            content=json.dumps({"circuit": PROGRAM}),
            headers=[(b"idempotency-key", value)],
        )
        assert response.status_code in {400, 404}
        assert "idempotency-key" not in response.headers
        assert_is_not_injected(response)


@pytest.mark.parametrize("header", ["accept", "accept-version", "range", "if-range", "if-none-match", "content-type"])
@pytest.mark.parametrize("value", [b"a\r\nX-Injected: yes", b"\xff\xfe", b"x" * 20_000, b"bytes=0-\r\nX-Injected: yes"])
async def test_headers_that_are_nonsense_do_no_harm(accounts: TwoAccounts, header: str, value: bytes) -> None:
    for path, method in accounts.routes:
        if path != "/jobs/changes":
            place = {"id": accounts.own[0], "target": "X8_01"}
            response = await send_raw(accounts.bench, method, path.format(**place), headers=[(header.encode(), value)])
            assert response.status_code < 500, (method, path)
            assert_is_not_injected(response)


@pytest.mark.parametrize(
    "name",
    ["a\r\nX-Injected: yes", "'; DROP TABLE jobs; --", "\0", "\u202e", "<script>alert(1)</script>", "{0.__class__}"],
)
async def test_a_jobs_name_is_only_a_text(accounts: TwoAccounts, name: str) -> None:
    created = await send_raw(accounts.bench, "POST", "/jobs", json={"circuit": WAITS, "name": name})
    assert created.status_code == 201
    assert_is_not_injected(created)
    again = await send_raw(accounts.bench, "GET", created.headers["location"])
    assert (created.json()["name"], again.json()["name"]) == (name, name)


@pytest.mark.parametrize(
    "query",
    [
        "size=1&x=%0d%0aX-Injected:%20yes",
        "size=1&%0d%0aX-Injected:%20yes=1",
        "size=1&x=%3E;rel=%22monitor%22,%3C//evil",
        "size=1&x=%ff",
    ],
)
async def test_the_link_to_the_next_page_cannot_be_broken_out_of(accounts: TwoAccounts, query: str) -> None:
    response = await send_raw(accounts.bench, "GET", f"/jobs?{query}")
    assert response.status_code == 200
    assert_is_not_injected(response)
    assert sorted(response.links) == ["monitor", "next"]
    assert response.links["monitor"]["url"].startswith("/jobs/changes?")
    assert (await send_raw(accounts.bench, "GET", response.links["next"]["url"])).status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "id='",
        "id=%00",
        "id=%0d%0a",
        "size=1;drop",
        "size=%D9%A1",
        "status='",
        "before='",
        "before=%00",
        "size=-1",
        "size=1e3",
    ],
)
async def test_queries_that_are_nonsense_are_refused(accounts: TwoAccounts, query: str) -> None:
    assert_is_refused(await send_raw(accounts.bench, "GET", f"/jobs?{query}"))
