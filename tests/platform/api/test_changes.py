"""The change feed as an application: its events, their order, their readers, and its end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from starlette.types import Message

from sfjobs.platform.api.routes import changes as routes_changes
from sfjobs.platform.jobs.change_feed import PAGE_JOBS, ChangePublisher
from tests.platform.stand_ins import PROGRAM, Bench, add_job, new_job, open_bench

pytestmark = [pytest.mark.real_time, pytest.mark.asyncio_only]


@pytest.fixture
def feed(tmp_path: Path, bench: Bench) -> ChangePublisher:
    feed = ChangePublisher(bench.store, bench.scheduler)
    bench.app = bench.make_app(feed=feed)
    return feed


@dataclass(frozen=True)
class Event:
    name: str
    cursor: str
    data: dict[str, Any]


class Stream:
    """A request for changes, made without a client, since httpx's ASGI transport waits for the whole body."""

    def __init__(self) -> None:
        self._to_test: MemoryObjectSendStream[bytes]
        self._from_app: MemoryObjectReceiveStream[bytes]
        self._to_test, self._from_app = anyio.create_memory_object_stream[bytes](1000)
        self._text = ""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.gone = anyio.Event()
        self.reads = True
        self.ended = anyio.Event()
        self._asked = False

    async def run(self, bench: Bench, headers: dict[str, str], account: str, method: str, query: str) -> None:
        token = bench.token(account)
        scope = {
            "type": "http",
            "method": method,
            "path": "/jobs/changes",
            "raw_path": b"/jobs/changes",
            "query_string": query.encode(),
            "headers": [
                (name.encode(), value.encode())
                for name, value in {"authorization": f"Bearer {token}", **headers}.items()
            ],
            "extensions": {"sfjobs.abort": {"call": self.gone.set}},
        }
        with self._to_test:
            await bench.app(scope, self._receive, self._send)
        self.ended.set()

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            return
        if not self.reads:
            await anyio.sleep_forever()
        await self._to_test.send(message.get("body", b""))

    async def block(self) -> str:
        """Return the next piece of the stream up to an empty line."""
        with anyio.fail_after(30):
            while "\n\n" not in self._text:
                self._text += (await self._from_app.receive()).decode()
        block, _, self._text = self._text.partition("\n\n")
        return block

    async def event(self) -> Event:
        """Return the next event. Comments and retry times are skipped."""
        fields: dict[str, str] = {}
        while "event" not in fields:
            fields = dict(line.split(": ", 1) for line in (await self.block()).splitlines() if not line.startswith(":"))
        return Event(fields["event"], fields.get("id", ""), json.loads(fields["data"]))

    async def rest(self) -> str:
        with anyio.fail_after(30):
            async for chunk in self._from_app:
                self._text += chunk.decode()
        return self._text

    def close(self) -> None:
        self.gone.set()
        self._from_app.close()


@asynccontextmanager
async def streaming(
    bench: Bench,
    cursor: str | None = None,
    *,
    account: str = "",
    method: str = "GET",
    reads: bool = True,
    query: str = "",
) -> AsyncIterator[Stream]:
    stream = Stream()
    stream.reads = reads
    headers = {} if cursor is None else {"last-event-id": cursor}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stream.run, bench, headers, account or bench.account, method, query)
        try:
            yield stream
        finally:
            stream.gone.set()
            with anyio.fail_after(30):
                await stream.ended.wait()
            stream.close()


async def submit(bench: Bench, number: int = 0, *, account: str = "") -> str:
    """Add a job that stays ``open``, since no scheduler queues it."""
    return (await add_job(bench.store, new_job(account or bench.account, number, target="never"))).id


async def now(bench: Bench) -> str:
    """Return the present cursor."""
    async with streaming(bench) as stream:
        return (await stream.event()).cursor


async def test_the_stream_says_what_it_is(bench: Bench, feed: ChangePublisher) -> None:
    async with streaming(bench) as stream:
        await stream.block()
        assert (stream.status, stream.headers["content-type"], stream.headers["cache-control"]) == (
            200,
            "text/event-stream",
            "no-store",
        )


async def test_it_begins_with_the_time_to_wait_before_a_reconnect(bench: Bench, feed: ChangePublisher) -> None:
    async with streaming(bench) as stream:
        assert await stream.block() == "retry: 1000"


async def test_the_first_event_is_hello_with_a_cursor(bench: Bench, feed: ChangePublisher) -> None:
    async with streaming(bench) as stream:
        hello = await stream.event()
    assert (hello.name, hello.data, hello.cursor != "") == ("hello", {}, True)


async def test_changes_before_hello_are_not_sent(bench: Bench, feed: ChangePublisher) -> None:
    await submit(bench, 1)
    async with streaming(bench) as stream:
        await stream.event()
        job_id = await submit(bench, 2)
        assert (await stream.event()).data["id"] == job_id


async def test_every_change_of_a_job_is_sent_as_it_happens(bench: Bench, feed: ChangePublisher) -> None:
    async with streaming(bench) as stream:
        await stream.event()
        job = await add_job(bench.store, new_job(bench.account))
        events = [await stream.event()]
        await bench.store.enqueue([job.id])
        events.append(await stream.event())
        await bench.store.start(job.id)
        events.append(await stream.event())
        await bench.store.fail(job.id, 1, "x", "y")
        events.append(await stream.event())
    seen = [(event.name, event.data["status"], event.data["started_at"] is not None) for event in events]
    assert seen == [("job", "open", False), ("job", "queued", False), ("job", "queued", True), ("job", "failed", True)]


async def test_an_event_carries_the_job_as_a_request_would(bench: Bench, feed: ChangePublisher) -> None:
    async with streaming(bench) as stream, bench.client() as client:
        await stream.event()
        job_id = await submit(bench)
        assert (await stream.event()).data == (await client.get(f"/jobs/{job_id}")).json()


async def test_a_cursor_goes_on_where_it_was_given(bench: Bench, feed: ChangePublisher) -> None:
    cursor = await now(bench)
    ids = [await submit(bench, number) for number in range(3)]
    async with streaming(bench, cursor) as stream:
        first = await stream.event()
    async with streaming(bench, first.cursor) as stream:
        rest = [(await stream.event()).data["id"] for _ in range(2)]
    assert [first.data["id"], *rest] == ids


async def test_the_link_of_a_response_goes_on_where_the_response_was(bench: Bench, feed: ChangePublisher) -> None:
    await submit(bench, 1)
    async with bench.client() as client:
        link = (await client.get("/jobs")).links["monitor"]["url"]
    ids = [await submit(bench, number) for number in (2, 3)]
    async with streaming(bench, query=link.partition("?")[2]) as stream:
        first, second = await stream.event(), await stream.event()
    assert [first.data["id"], second.data["id"]] == ids
    async with streaming(bench, first.cursor, query=link.partition("?")[2]) as stream:
        assert await stream.event() == second, "a reader that comes back says by itself how far it was"


async def test_the_link_of_a_submission_knows_the_job(bench: Bench, feed: ChangePublisher) -> None:
    async with bench.client() as client:
        link = (await client.post("/jobs", json={"circuit": PROGRAM})).links["monitor"]["url"]
    async with streaming(bench, query=link.partition("?")[2]) as stream:
        assert (await stream.event()).data["status"] != "open", "what the response said is not sent again"


async def test_jobs_that_changed_while_away_come_once_at_their_newest_state_oldest_change_first(
    bench: Bench, feed: ChangePublisher
) -> None:
    cursor = await now(bench)
    ids = [await submit(bench, number) for number in range(3)]
    await bench.store.request_cancel(bench.account, ids[0])
    async with streaming(bench, cursor) as stream:
        events = [await stream.event() for _ in range(3)]
    seen = [(event.data["id"], event.data["status"]) for event in events]
    assert seen == [(ids[1], "open"), (ids[2], "open"), (ids[0], "cancelled")]


async def test_more_than_one_page_is_sent_in_order(bench: Bench, feed: ChangePublisher) -> None:
    cursor = await now(bench)
    jobs = await bench.store.add_jobs([new_job(bench.account, number) for number in range(2 * PAGE_JOBS + 1)])
    async with streaming(bench, cursor) as stream:
        events = [(await stream.event()).data["id"] for _ in jobs]
    assert events == [job.id for job in jobs]


async def test_another_accounts_jobs_are_not_sent(bench: Bench, feed: ChangePublisher) -> None:
    other = bench.store.ensure_account("another")
    async with streaming(bench) as mine, streaming(bench, account=other) as theirs:
        await mine.event()
        await theirs.event()
        ids = [await submit(bench, 1), await submit(bench, 2, account=other)]
        events = [(await mine.event()).data["id"], (await theirs.event()).data["id"]]
    assert events == ids


async def test_many_streams_of_an_account_have_the_same_events(bench: Bench, feed: ChangePublisher) -> None:
    async with streaming(bench) as first, streaming(bench) as second:
        await first.event()
        await second.event()
        await submit(bench)
        assert await first.event() == await second.event()


@pytest.mark.parametrize("cursor", ["", "7", "x.1", "{epoch}.9999", "{epoch}.-1", "{epoch}.x", "{epoch}.²"])
async def test_a_cursor_that_is_not_known_is_gone(bench: Bench, feed: ChangePublisher, cursor: str) -> None:
    headers = [(b"last-event-id", cursor.format(epoch=feed.cursor(0).partition(".")[0]).encode())]
    async with bench.client() as client:
        response = await client.get("/jobs/changes", headers=headers)
    assert (response.status_code, response.json()["code"]) == (410, "cursor-expired")


async def test_a_cursor_of_another_store_is_gone(tmp_path: Path, bench: Bench, feed: ChangePublisher) -> None:
    cursor = await now(bench)
    (tmp_path / "another").mkdir()
    async with open_bench(tmp_path / "another") as another, another.client() as client:
        response = await client.get("/jobs/changes", headers={"last-event-id": cursor})
    assert response.status_code == 410


async def test_a_cursor_survives_a_restart(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        cursor = await now(bench)
        job_id = await submit(bench)
    async with open_bench(tmp_path) as bench, streaming(bench, cursor) as stream:
        assert (await stream.event()).data["id"] == job_id


async def test_silence_is_broken_by_comments(
    bench: Bench, feed: ChangePublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes_changes, "HEARTBEAT_SECONDS", 0.01)
    async with streaming(bench) as stream:
        await stream.event()
        assert [await stream.block() for _ in range(3)] == [":"] * 3


async def test_the_stream_ends_with_its_token(tmp_path: Path) -> None:
    async with open_bench(tmp_path, lifetime=0.3) as bench, streaming(bench) as stream:
        events = [await stream.event(), await stream.event()]
        rest = await stream.rest()
        await stream.ended.wait()
    assert ([event.name for event in events], rest) == (["hello", "bye"], "")


async def test_a_disconnect_ends_the_stream(bench: Bench, feed: ChangePublisher) -> None:
    async with streaming(bench) as stream:
        await stream.event()
        before = feed.streams
        stream.gone.set()
        with anyio.fail_after(30):
            await stream.ended.wait()
    assert (before, feed.streams) == (1, 0)


async def test_a_client_that_does_not_read_is_disconnected(
    bench: Bench, feed: ChangePublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes_changes, "SEND_TIMEOUT_SECONDS", 0.05)
    async with streaming(bench, reads=False) as stream:
        with anyio.fail_after(30):
            await stream.gone.wait()


async def test_closing_the_feed_ends_streams_that_wait_with_a_word(bench: Bench, feed: ChangePublisher) -> None:
    async with streaming(bench) as stream:
        await stream.event()
        feed.close()
        assert await stream.rest() == "event: bye\ndata: {}\n\n"


async def test_what_happened_before_the_feed_closed_is_sent(bench: Bench, feed: ChangePublisher) -> None:
    async with streaming(bench) as stream, bench.client() as client:
        await stream.event()
        job_id = (await client.post("/jobs", json={"circuit": PROGRAM})).json()["id"]
        feed.close()
        rest = await stream.rest()
    assert (job_id in rest, rest.endswith("event: bye\ndata: {}\n\n")) == (True, True)


async def test_closing_the_feed_ends_streams_that_are_stuck(bench: Bench, feed: ChangePublisher) -> None:
    async with streaming(bench, reads=False) as stream:
        with anyio.fail_after(30):
            while not feed.streams:
                await anyio.lowlevel.checkpoint()
            feed.close()
            await stream.gone.wait()


async def test_head_has_no_stream(bench: Bench, feed: ChangePublisher) -> None:
    async with streaming(bench, method="HEAD") as stream:
        assert await stream.rest() == ""


async def test_without_a_token_there_is_no_stream(bench: Bench, feed: ChangePublisher) -> None:
    async with bench.client() as client:
        response = await client.get("/jobs/changes", headers={"authorization": "Bearer x"})
    assert response.status_code == 401
