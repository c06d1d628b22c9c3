"""The token endpoint, and 401 on every other path."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import httpx
import jwt
import pytest

from sfjobs.platform.store.api_keys import hash_api_key, new_api_key
from sfjobs.platform.store.sqlite.jobs import SQLiteStore
from tests.platform.stand_ins import Bench, open_bench

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]

TOKEN = "/auth/realms/platform/protocol/openid-connect/token"


@pytest.fixture
async def anonymous(bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    async with bench.client() as client:
        del client.headers["authorization"]
        yield client


async def test_an_api_key_gives_an_access_token_that_is_good(anonymous: httpx.AsyncClient) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": "key", "client_id": "public"}
    response = await anonymous.post(TOKEN, data=form)
    token = response.json()["access_token"]
    ping = await anonymous.get("/healthz", headers={"authorization": f"Bearer {token}"})
    assert (response.status_code, response.json()["expires_in"], ping.status_code) == (200, 300, 200)


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "refresh_token", "refresh_token": "wrong", "client_id": "public"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "", "client_id": "public"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "client_id": "public"}, "invalid_grant"),
        ({"grant_type": "password", "refresh_token": "key"}, "unsupported_grant_type"),
        ({}, "unsupported_grant_type"),
        ({str(number): "x" for number in range(50)}, "invalid_request"),
    ],
)
async def test_a_bad_key_is_refused_in_the_words_of_oauth(
    anonymous: httpx.AsyncClient, form: dict[str, str], error: str
) -> None:
    response = await anonymous.post(TOKEN, data=form)
    assert (response.status_code, response.json()["error"]) == (400, error)


async def test_a_token_form_that_is_too_long_is_refused(anonymous: httpx.AsyncClient) -> None:
    assert (await anonymous.post(TOKEN, content=b"x" * 20_000)).status_code == 413


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/healthz", "/devices", "/devices/X8_01", "/jobs", "/jobs/x/result", "/nothing", "/"])
async def test_every_path_requires_a_token(anonymous: httpx.AsyncClient, method: str, path: str) -> None:
    response = await anonymous.request(method, path)
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer None", "Bearer a.b.c", "None", "Basic a2V5", "Bearer key", "Bearer é"]
)
async def test_what_is_no_token_is_refused(anonymous: httpx.AsyncClient, value: str) -> None:
    response = await anonymous.get("/healthz", headers=[(b"authorization", value.encode("latin-1"))])
    assert response.status_code == 401


async def test_a_401_says_which_scheme_is_wanted(anonymous: httpx.AsyncClient) -> None:
    assert (await anonymous.get("/healthz")).headers["www-authenticate"] == "Bearer"


async def test_an_expired_token_is_refused(tmp_path: Path) -> None:
    async with open_bench(tmp_path, lifetime=-1) as bench, bench.client() as client:
        assert (await client.get("/healthz")).status_code == 401


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
async def test_a_token_that_someone_else_signed_is_refused(
    bench: Bench, anonymous: httpx.AsyncClient, algorithm: str
) -> None:
    claims = {"iss": "sfjobs", "sub": bench.account, "exp": 9e9}
    forged = jwt.encode(claims, "x" * 32 if algorithm == "HS256" else None, algorithm=algorithm)
    response = await anonymous.get("/healthz", headers={"authorization": f"Bearer {forged}"})
    assert response.status_code == 401


def test_the_api_key_is_not_in_the_database(tmp_path: Path) -> None:
    key = new_api_key()
    with closing(SQLiteStore(tmp_path / "db")) as store:
        store.add_key(store.ensure_account("someone"), hash_api_key(key), name="local")
        assert not any(key.encode() in path.read_bytes() for path in tmp_path.iterdir())


def test_keys_have_only_characters_that_every_client_accepts() -> None:
    assert all(
        set(new_api_key()) <= set("-_" + "".join(map(chr, range(48, 123)))) - set(":;<=>?@[\\]^`") for _ in range(50)
    )
