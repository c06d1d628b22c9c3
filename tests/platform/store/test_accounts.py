"""API keys: stored as hashes only, named, listed and revoked beside a running platform, and void at once when revoked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import anyio
import httpx
import pytest

from sfjobs.errors import ConfigurationError
from sfjobs.platform import serving
from sfjobs.platform.api.routes.account import TOKEN_PATH
from sfjobs.platform.store.api_keys import create_key, hash_api_key
from sfjobs.platform.store.sqlite.accounts import USE_RESOLUTION_MICROSECONDS, SQLiteAccounts, open_accounts
from sfjobs.platform.store.sqlite.jobs import SQLiteStore
from tests.platform.stand_ins import PROGRAM, Bench, open_bench

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[SQLiteAccounts]:
    with closing(SQLiteAccounts(tmp_path / "db")) as accounts:
        yield accounts


def beside(folder: Path) -> closing[SQLiteAccounts]:
    """Open the accounts of the bench in this folder once more, as the command line does."""
    return closing(SQLiteAccounts(folder / "platform.sqlite3"))


async def token(client: httpx.AsyncClient, api_key: str) -> str | None:
    """Return an access token that the platform gives for the key, None if it gives none."""
    form = {"grant_type": "refresh_token", "refresh_token": api_key, "client_id": "public"}
    response = await client.post(TOKEN_PATH, data=form)
    return response.json()["access_token"] if response.status_code == 200 else None


async def ping(client: httpx.AsyncClient, access_token: str | None) -> int:
    return (await client.get("/healthz", headers={"authorization": f"Bearer {access_token}"})).status_code


async def test_a_key_made_beside_a_running_platform_is_good_at_once(tmp_path: Path, client: httpx.AsyncClient) -> None:
    with beside(tmp_path) as accounts:
        api_key = create_key(accounts, "alice", "alice")
    assert await ping(client, await token(client, api_key)) == 200


async def test_a_revoked_key_gets_no_token(tmp_path: Path, client: httpx.AsyncClient) -> None:
    with beside(tmp_path) as accounts:
        api_key = create_key(accounts, "alice", "alice")
        assert accounts.revoke_key("alice")
    assert await token(client, api_key) is None


async def test_the_tokens_of_a_revoked_key_are_void_at_once_and_those_of_others_are_not(
    tmp_path: Path, client: httpx.AsyncClient
) -> None:
    with beside(tmp_path) as accounts:
        api_keys = [create_key(accounts, name, "team") for name in ("alice", "bob")]
        tokens = [await token(client, api_key) for api_key in api_keys]
        before = [await ping(client, access_token) for access_token in tokens]
        accounts.revoke_key("alice")
        after = [await ping(client, access_token) for access_token in tokens]
    assert (before, after) == ([200, 200], [401, 200])


async def test_a_stream_of_a_revoked_key_ends(tmp_path: Path, bench: Bench, client: httpx.AsyncClient) -> None:
    sent: list[bytes] = []
    received = anyio.Event()

    async def send(message: dict[str, object]) -> None:
        body = message.get("body", b"")
        assert isinstance(body, bytes)
        sent.append(body)
        if b"hello" in body:
            received.set()

    with beside(tmp_path) as accounts:
        create_key(accounts, "alice", "someone")
        key = next(key for key in accounts.api_keys() if key.name == "alice")
        authorization = f"Bearer {bench.tokens.issue(bench.account, key=key.id)}".encode()
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/jobs/changes",
            "query_string": b"",
            "headers": [(b"authorization", authorization)],
        }
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.app, scope, anyio.sleep_forever, send)
            await received.wait()
            accounts.revoke_key("alice")
            await client.post("/jobs", json={"circuit": PROGRAM})
    rest = b"".join(sent).partition(b"hello")[2]
    assert (b"event: job" in rest, b"event: bye" in rest) == (False, True)


async def test_keys_of_one_account_see_the_same_jobs_and_those_of_others_none(
    tmp_path: Path, client: httpx.AsyncClient
) -> None:
    with beside(tmp_path) as accounts:
        names = [("alice", "team"), ("bob", "team"), ("eve", "eve")]
        tokens = [await token(client, create_key(accounts, *name)) for name in names]
    headers = [{"authorization": f"Bearer {access_token}"} for access_token in tokens]
    await client.post("/jobs", json={"circuit": PROGRAM}, headers=headers[0])
    seen = [len((await client.get("/jobs", headers=who)).json()["data"]) for who in headers]
    assert seen == [1, 1, 0]


@pytest.mark.parametrize(
    ("later", "noted"), [(USE_RESOLUTION_MICROSECONDS - 1, False), (USE_RESOLUTION_MICROSECONDS, True)]
)
async def test_the_last_use_is_recorded_to_the_hour(
    client: httpx.AsyncClient, bench: Bench, monkeypatch: pytest.MonkeyPatch, later: int, noted: bool
) -> None:
    time = 7 * USE_RESOLUTION_MICROSECONDS
    monkeypatch.setattr("sfjobs.platform.store.sqlite.accounts.now", lambda: time)
    assert bench.store.api_keys()[0].used is None
    await token(client, "key")
    first = bench.store.api_keys()[0].used
    time += later
    await token(client, "key")
    assert (first, bench.store.api_keys()[0].used) == (7 * USE_RESOLUTION_MICROSECONDS, time if noted else first)


def test_a_key_is_nowhere_in_the_file(tmp_path: Path, accounts: SQLiteAccounts) -> None:
    api_key = create_key(accounts, "alice", "alice")
    assert accounts.key(hash_api_key(api_key)) is not None
    assert not any(api_key.encode() in path.read_bytes() for path in tmp_path.iterdir())
    assert api_key not in repr(accounts.api_keys())
    assert hash_api_key(api_key) not in repr(accounts.api_keys())


@pytest.mark.parametrize("name", ["", "two words", "-x", "x" * 65, "a/b", "x\n", "local", "local-2"])
def test_an_invalid_name_is_refused(accounts: SQLiteAccounts, name: str) -> None:
    with pytest.raises(ConfigurationError, match="name"):
        create_key(accounts, name, "someone")
    assert accounts.api_keys() == []


def test_a_name_is_taken_until_its_key_is_revoked(accounts: SQLiteAccounts) -> None:
    create_key(accounts, "alice", "alice")
    with pytest.raises(ConfigurationError, match="there is a key 'alice' already"):
        create_key(accounts, "alice", "bob")
    accounts.revoke_key("alice")
    create_key(accounts, "alice", "alice")
    assert [key.revoked is None for key in accounts.api_keys()] == [False, True]


def test_a_key_that_is_not_there_cannot_be_revoked(accounts: SQLiteAccounts) -> None:
    create_key(accounts, "alice", "alice")
    assert [accounts.revoke_key(name) for name in ("bob", "alice", "alice")] == [False, True, False]


def test_opening_the_accounts_leaves_running_jobs_alone(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_bench(tmp_path) as bench, bench.client() as client:
            job_id = (await client.post("/jobs", json={"circuit": PROGRAM})).json()["id"]
            await bench.executor.started()
            with beside(tmp_path):
                job = bench.store.job(job_id)
            assert job is not None
            assert job.started is not None

    anyio.run(run)


def test_a_folder_without_a_platform_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no platform"), open_accounts(tmp_path / "data"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_keys_can_be_made_before_the_first_start(tmp_path: Path) -> None:
    with open_accounts(tmp_path / "data", create=True) as accounts:
        api_key = create_key(accounts, "alice", "alice")
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    form = {"grant_type": "refresh_token", "refresh_token": api_key}
    with serving(data_dir=tmp_path / "data") as platform:
        assert httpx.post(platform.url + TOKEN_PATH, data=form, trust_env=False).status_code == 200
        assert platform.api_key != api_key


def test_a_new_file_of_the_first_key_revokes_the_one_before(tmp_path: Path) -> None:
    with serving(data_dir=tmp_path / "data") as platform:
        first = platform.api_key
    (tmp_path / "data" / "api_key").unlink()
    with serving(data_dir=tmp_path / "data") as platform:
        statuses = [
            httpx.post(
                platform.url + TOKEN_PATH,
                data={"grant_type": "refresh_token", "refresh_token": api_key},
                trust_env=False,
            ).status_code
            for api_key in (first, platform.api_key)
        ]
    assert statuses == [400, 200]


def test_the_first_key_can_be_revoked_and_the_next_start_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(data_dir=tmp_path / "data"), open_accounts(tmp_path / "data") as accounts:
        assert accounts.revoke_key("local")
    with serving(data_dir=tmp_path / "data") as platform:
        form = {"grant_type": "refresh_token", "refresh_token": platform.api_key}
        assert httpx.post(platform.url + TOKEN_PATH, data=form, trust_env=False).status_code == 400
    assert "has been revoked" in caplog.text
    assert platform.api_key not in caplog.text


def test_an_empty_file_is_no_key(tmp_path: Path) -> None:
    with serving(data_dir=tmp_path / "data") as platform:
        pass
    (tmp_path / "data" / "api_key").write_text("")
    with serving(data_dir=tmp_path / "data") as platform:
        form = {"grant_type": "refresh_token", "refresh_token": ""}
        assert httpx.post(platform.url + TOKEN_PATH, data=form, trust_env=False).status_code == 400
        assert len(platform.api_key) == 43


@pytest.mark.parametrize("name", ["api_key", "platform.sqlite3"])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(ConfigurationError, match=name), serving(data_dir=tmp_path):
        pass


def test_a_key_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "api_key").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="api_key"), serving(data_dir=tmp_path):
        pass


def test_making_keys_needs_no_server_library(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "for name in ('starlette', 'uvicorn', 'jwt', 'lark'): sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from sfjobs.platform.store.api_keys import create_key\n"
        "from sfjobs.platform.store.sqlite.accounts import open_accounts\n"
        f"with open_accounts(Path({str(tmp_path / 'data')!r}), create=True) as accounts: create_key(accounts, 'a', 'a')\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    with closing(SQLiteStore(tmp_path / "data" / "platform.sqlite3")) as store:
        assert [key.name for key in store.api_keys()] == ["a"]
