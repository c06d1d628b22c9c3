"""Access tokens end with their key and their signing secret, also for what is being sent."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import httpx
import jwt
import pytest

from sfjobs.platform.api import abort
from sfjobs.platform.store.sqlite.accounts import SQLiteAccounts, open_accounts
from tests.platform.attacks.neighbours import Neighbours, client_of, neighbours
from tests.platform.stand_ins import Bench, open_bench

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]


@contextmanager
def accounts_of(both: Neighbours) -> Iterator[SQLiteAccounts]:
    """Open the accounts as ``sfjobs platform`` does beside a running platform."""
    with open_accounts(both.platform.data_dir) as accounts:
        yield accounts


async def status(bench: Bench, token: str) -> int:
    async with bench.client() as client:
        return (await client.get("/healthz", headers={"authorization": f"Bearer {token}"})).status_code


def claims_of(token: str) -> dict[str, object]:
    return dict(jwt.decode(token, options={"verify_signature": False}))


async def test_a_token_names_its_key_and_its_signing_secret(bench: Bench) -> None:
    token, secret = bench.token(), bench.store.signing_secrets()[0]
    assert jwt.get_unverified_header(token)["kid"] == secret.id
    assert "key" in claims_of(token)
    assert secret.value not in secret.id
    assert await status(bench, token) == 200


@pytest.mark.parametrize("change", [{"key": None}, {"key": "unknown"}, {"key": 7}, {"sub": None}, {"exp": None}])
async def test_a_signed_token_without_what_it_needs_is_refused(bench: Bench, change: dict[str, object]) -> None:
    """Without ``key`` it could never be revoked."""
    secret = bench.store.signing_secrets()[0]
    claims = {name: value for name, value in {**claims_of(bench.token()), **change}.items() if value is not None}
    assert await status(bench, jwt.encode(claims, secret.value, headers={"kid": secret.id})) == 401


@pytest.mark.parametrize("header", [{}, {"kid": "unknown"}, {"kid": "../../etc/passwd"}, {"kid": ""}])
async def test_a_token_without_a_known_secret_is_refused(bench: Bench, header: dict[str, object]) -> None:
    secret = bench.store.signing_secrets()[0]
    assert await status(bench, jwt.encode(claims_of(bench.token()), secret.value, headers=header)) == 401


@pytest.mark.parametrize("at_once", [False, True])
async def test_the_signing_secret_can_be_replaced_while_the_platform_runs(bench: Bench, at_once: bool) -> None:
    before = bench.token()
    replaced = bench.store.replace_signing_secret(at_once=at_once)
    after = bench.token()
    assert jwt.get_unverified_header(after)["kid"] == replaced.id
    assert (await status(bench, before), await status(bench, after)) == (401 if at_once else 200, 200)


async def test_a_replaced_secret_signs_nothing_after_the_lifetime_of_its_tokens(tmp_path: Path) -> None:
    """A stranger who has learned it could make tokens that never end."""
    async with open_bench(tmp_path, lifetime=0.5) as bench:
        old = bench.store.signing_secrets()[0]
        claims = claims_of(bench.token())
        bench.store.replace_signing_secret()
        forged = jwt.encode({**claims, "exp": time.time() + 1e6}, old.value, headers={"kid": old.id})
        deadline = time.time() + 0.5
        first = await status(bench, forged)
        assert first == 200 or time.time() > deadline
        await anyio.sleep(deadline - time.time() + 0.01)
        assert await status(bench, forged) == 401


async def test_a_revoked_key_ends_a_stream_between_two_heartbeats(tmp_path: Path) -> None:
    """It went on until the next heartbeat, 10 s later, or the next change."""
    async with neighbours(tmp_path) as both, both.attacker.stream("GET", "/jobs/changes") as response:
        pieces = response.aiter_bytes()
        assert b"hello" in await anext(pieces)
        with accounts_of(both) as accounts:
            accounts.revoke_key(both.attacker_key)
        revoked = time.monotonic()
        rest = b"".join([piece async for piece in pieces])
        took = time.monotonic() - revoked
    assert rest == b"event: bye\ndata: {}\n\n"
    assert took < 8  # 1 s on an idle machine; a heartbeat comes after 10 s


async def test_a_revoked_key_ends_a_download(tmp_path: Path) -> None:
    """A result of 40 MB went on to be sent to a client that read it slowly."""
    program = "name big\nversion 1.0\ntarget simulon_gaussian (shots=5000000)\n\nMeasureX | 0\n"
    async with neighbours(tmp_path) as both:
        job = (await both.attacker.post("/jobs", json={"circuit": program})).json()["id"]
        while (await both.attacker.get(f"/jobs/{job}")).json()["status"] != "complete":  # noqa: ASYNC110 - as a client does
            await anyio.sleep(0.05)
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            async with both.attacker.stream("GET", f"/jobs/{job}/result") as response:
                size, read = int(response.headers["content-length"]), 0
                async for piece in response.aiter_raw():
                    if not read:
                        with accounts_of(both) as accounts:
                            accounts.revoke_key(both.attacker_key)
                        await anyio.sleep(abort.REVOCATION_CHECK_SECONDS * 3)
                    read += len(piece)
        assert size == 40_000_000 + size % 1000
        assert read < size


async def test_rotating_the_secret_at_once_ends_streams_but_no_key(tmp_path: Path) -> None:
    async with neighbours(tmp_path) as both:
        async with both.attacker.stream("GET", "/jobs/changes") as response:
            pieces = response.aiter_bytes()
            await anext(pieces)
            with accounts_of(both) as accounts:
                accounts.replace_signing_secret(at_once=True)
            assert b"bye" in b"".join([piece async for piece in pieces])
        assert (await both.attacker.get("/healthz")).status_code == 401
        async with client_of(both.platform, both.platform.api_key) as client:
            assert (await client.get("/healthz")).status_code == 200


def test_the_secret_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    accounts = SQLiteAccounts(tmp_path / "platform.sqlite3")
    try:
        value = accounts.secret("access-tokens")
        assert [secret.value for secret in accounts.signing_secrets()] == [value]
        accounts.replace_signing_secret()
        accounts.replace_signing_secret()
        secrets = accounts.signing_secrets()
    finally:
        accounts.close()
    assert len({secret.id for secret in secrets}) == 2
    assert value not in json.dumps([secret.value for secret in secrets])
