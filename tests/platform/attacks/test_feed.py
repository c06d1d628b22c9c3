"""The feed of one account neither holds up another nor says anything of it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import anyio.lowlevel
import httpx
import pytest

from sfjobs.platform.jobs import change_feed
from sfjobs.platform.jobs.change_feed import PAGE_JOBS, ChangePublisher
from sfjobs.platform.limits import Limits
from sfjobs.platform.store.sqlite.jobs import SQLiteStore
from tests.platform.stand_ins import PROGRAM, Bench, new_job, open_bench

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]


def cursor_of(response: httpx.Response) -> str:
    found = re.search(r"since=([^>]+)>", response.headers["link"])
    assert found is not None
    return found[1]


async def add_jobs(bench: Bench, account: str, count: int, start: int = 0) -> None:
    await bench.store.add_jobs([new_job(account, start + number, target="never") for number in range(count)])


async def read_stream(bench: Bench, since: str, on_events: Callable[[bytes], None], account: str | None = None) -> None:
    """Read a stream, in the loop of the platform."""

    async def send(message: dict[str, object]) -> None:
        body = message.get("body", b"")
        assert isinstance(body, bytes)
        on_events(body)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/jobs/changes",
        "query_string": f"since={since}".encode(),
        "headers": [(b"authorization", f"Bearer {bench.token(account)}".encode())],
    }
    await bench.app(scope, anyio.sleep_forever, send)


async def test_a_long_replay_lets_other_tasks_run_between_its_pages(bench: Bench, client: httpx.AsyncClient) -> None:
    """200,000 changes blocked all other requests for 9.65 s: a server whose client reads never waits for it."""
    since = cursor_of(await client.get("/jobs"))
    await add_jobs(bench, bench.account, 20 * PAGE_JOBS)
    turns, pages, longest = 0, 0, 0
    done = anyio.Event()

    def on_events(events: bytes) -> None:
        nonlocal pages, longest
        if b"event: job" in events:
            pages += 1
            longest = max(longest, pages - turns)
        if b"demo" in events or pages == 20:
            done.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read_stream, bench, since, on_events)
        while not done.is_set():
            turns = pages
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert pages == 20
    assert longest <= 2


async def test_replays_take_turns_by_account(tmp_path: Path) -> None:
    """Many streams of one account that are far behind do not hold up the one of another account."""
    async with open_bench(tmp_path) as bench:
        other = bench.store.ensure_account("other")
        async with bench.client() as client, bench.client(other) as neighbour:
            since = cursor_of(await client.get("/jobs"))
            others = cursor_of(await neighbour.get("/jobs"))
        await add_jobs(bench, bench.account, 40 * PAGE_JOBS)
        await add_jobs(bench, other, 4 * PAGE_JOBS, start=10_000)
        pages = {"many": 0, "one": 0}
        done = anyio.Event()

        def count(name: str) -> Callable[[bytes], None]:
            def on_events(events: bytes) -> None:
                pages[name] += b"event: job" in events
                if pages["one"] == 4:
                    done.set()

            return on_events

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(read_stream, bench, since, count("many"))
            while pages["many"] < 100:
                await anyio.lowlevel.checkpoint()
            before = pages["many"]
            tasks.start_soon(read_stream, bench, others, count("one"), other)
            await done.wait()
            after = pages["many"]
            tasks.cancel_scope.cancel()
    assert after - before <= 300  # of 700 that they still had


async def test_a_cursor_that_is_too_old_is_gone_and_says_what_to_do(
    bench: Bench, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_feed, "MAX_REPLAY_CHANGES", 10)
    since = cursor_of(await client.get("/jobs"))
    await add_jobs(bench, bench.account, 10)
    publisher = ChangePublisher(bench.store, bench.scheduler)
    assert publisher.change_at(bench.account, since) is not None
    await add_jobs(bench, bench.account, 1, start=10)
    response = await client.get("/jobs/changes", params={"since": since})
    assert (response.status_code, response.json()["code"]) == (410, "cursor-expired")
    assert "List the jobs again" in response.json()["detail"]
    assert publisher.change_at(bench.account, cursor_of(await client.get("/jobs"))) is not None


async def test_numbers_of_changes_say_nothing_of_other_accounts(tmp_path: Path) -> None:
    """They were counted for all accounts together, so each account saw how busy the others were."""
    async with open_bench(tmp_path, automatic=True) as bench:
        other = bench.store.ensure_account("other")
        async with bench.client() as client, bench.client(other) as neighbour:
            before = cursor_of(await client.get("/jobs"))
            for _ in range(3):
                accepted = await neighbour.post("/jobs", json={"circuit": PROGRAM})
                await bench.store.ended(accepted.json()["id"])
            assert cursor_of(await client.get("/jobs")) == before
            epoch, number = cursor_of(await neighbour.get("/jobs")).split(".")
            assert int(number) == 12  # submitted, queued, started and ended, three times
            refused = await client.get("/jobs/changes", params={"since": f"{epoch}.{number}"})
            assert refused.status_code == 410


def test_cursors_of_an_earlier_version_stay_valid_and_new_changes_come_after_them(tmp_path: Path) -> None:
    path = tmp_path / "platform.sqlite3"
    with closing(SQLiteStore(path)) as store:
        account = store.ensure_account("old")
    with closing(sqlite3.connect(path)) as db, db:  # as it counted for all accounts
        db.execute("UPDATE meta SET value = 700 WHERE key = 'changes'")
    with closing(SQLiteStore(path)) as store:
        assert store.newest_change(account) == 700

        async def add() -> int:
            (record,) = await store.add_jobs([new_job(account)])
            return record.change

        assert anyio.run(add) == 701
        assert store.newest_change(account) == 701
        assert [job.change for job in store.changes(account, after=700, size=5)] == [701]


async def test_an_account_has_so_many_streams_and_another_is_not_refused(tmp_path: Path) -> None:
    async with open_bench(tmp_path, limits=Limits(streams=3)) as bench:
        other = bench.store.ensure_account("other")
        async with bench.client() as client, anyio.create_task_group() as tasks:
            since = cursor_of(await client.get("/jobs"))
            opened = []
            for _ in range(3):
                tasks.start_soon(read_stream, bench, since, opened.append)
            while len(opened) < 3:
                await anyio.lowlevel.checkpoint()
            response = await client.get("/jobs/changes")
            assert (response.status_code, response.json()["code"]) == (429, "too-much-at-once")
            assert int(response.headers["retry-after"]) > 0
            begun = anyio.Event()
            tasks.start_soon(read_stream, bench, "", lambda _: begun.set(), other)
            await begun.wait()
            tasks.cancel_scope.cancel()
