"""A result is sent in large chunks, never held as a whole, and not read for a client that disconnects or does not read."""

from __future__ import annotations

import tracemalloc
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from starlette.types import Message

from sfjobs.platform.api.abort import ABORT
from sfjobs.platform.api.file_response import CHUNK_BYTES, CHUNK_SEND_TIMEOUT_SECONDS, FilePart, FileResponse

Send = Callable[[Message], Awaitable[None]]
SIZE = 5 * CHUNK_BYTES + 100


@pytest.fixture(params=["in memory", "on disk"], autouse=True)
def where(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def preadv(*_: object) -> int:
        raise BlockingIOError

    if request.param == "on disk":
        monkeypatch.setattr("os.preadv", preadv, raising=False)


@pytest.fixture
def part(tmp_path: Path) -> FilePart:
    file = tmp_path / "result"
    file.write_bytes(b"-" * 10 + b"x" * SIZE + b"-" * 10)
    return FilePart(path=file, file_size=SIZE + 20, offset=10, size=SIZE, digest="", media_type="application/zip")


async def response(part: FilePart, send: Send, requested: range = range(SIZE)) -> None:
    await FileResponse(part, requested, {})({"type": "http", "method": "GET", "path": "/"}, anyio.sleep_forever, send)


class Recorder:
    """A connection that accepts all messages."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def __call__(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def pieces(self) -> list[bytes]:
        return [bytes(message["body"]) for message in self.messages if message.get("body")]


@pytest.mark.real_time
async def test_only_the_asked_bytes_leave_in_pieces_of_a_quarter_mebibyte(part: FilePart) -> None:
    recorder = Recorder()
    await response(part, recorder)
    assert b"".join(recorder.pieces) == b"x" * SIZE
    assert [len(piece) for piece in recorder.pieces] == [256 << 10] * 5 + [100]


@pytest.mark.real_time
@pytest.mark.parametrize(
    "requested", [range(1), range(7, CHUNK_BYTES + 7), range(3, 2 * CHUNK_BYTES), range(SIZE - 1, SIZE)]
)
async def test_a_range_counts_from_where_its_part_begins(part: FilePart, requested: range) -> None:
    content = bytes(number % 251 for number in range(SIZE + 20))
    part.path.write_bytes(content)
    recorder = Recorder()
    await response(part, recorder, requested)
    assert b"".join(recorder.pieces) == content[10:][requested.start : requested.stop]


@pytest.mark.real_time
async def test_no_more_than_two_pieces_are_held(part: FilePart) -> None:
    async def send(_: Message) -> None:
        return

    tracemalloc.start()
    try:
        await response(part, send)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * CHUNK_BYTES


@pytest.mark.real_time
async def test_the_next_piece_is_not_read_before_the_one_before_has_left(part: FilePart) -> None:
    """uvicorn puts a chunk into its buffer, and blocks the next message until the buffer is empty."""
    full = anyio.Event()
    buffer = Recorder()

    async def send(message: Message) -> None:
        if full.is_set():
            await anyio.sleep_forever()
        await buffer(message)
        if message.get("body"):
            full.set()

    tracemalloc.start()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(response, part, send)
            await full.wait()
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            held, _ = tracemalloc.get_traced_memory()
            tasks.cancel_scope.cancel()
    finally:
        tracemalloc.stop()
    assert held < 1.5 * CHUNK_BYTES


@pytest.mark.real_time
async def test_a_client_that_has_gone_ends_the_reading(part: FilePart) -> None:
    async def gone() -> Message:
        return {"type": "http.disconnect"}

    recorder = Recorder()
    await FileResponse(part, range(SIZE), {})({"type": "http", "method": "GET", "path": "/"}, gone, recorder)
    assert len(recorder.pieces) < 5


@pytest.mark.real_time
async def test_other_tasks_run_every_few_chunks(part: FilePart) -> None:
    """With a server that never blocks the sender, a fast reader of a large result would stop all other requests."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    with part.path.open("r+b") as file:
        file.truncate(20 * CHUNK_BYTES)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        await response(replace(part, size=20 * CHUNK_BYTES - 10), Recorder(), range(20 * CHUNK_BYTES - 10))
        tasks.cancel_scope.cancel()
    assert turns >= 4


@pytest.mark.parametrize("where", ["in memory"], indirect=True)  # a thread takes real time
async def test_a_client_that_does_not_read_is_disconnected(part: FilePart) -> None:
    gone = anyio.Event()

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await anyio.sleep_forever()

    scope = {"type": "http", "method": "GET", "path": "/", "extensions": {ABORT: {"call": gone.set}}}
    began = anyio.current_time()
    await FileResponse(part, range(SIZE), {})(scope, receive, send)
    assert anyio.current_time() - began == pytest.approx(CHUNK_SEND_TIMEOUT_SECONDS, abs=1)


@pytest.mark.real_time
@pytest.mark.parametrize("size", [5, SIZE])
async def test_a_file_that_is_shorter_than_recorded_fails_before_anything_is_sent(part: FilePart, size: int) -> None:
    part.path.write_bytes(b"x" * (SIZE + 19))
    recorder = Recorder()
    with pytest.raises(OSError, match="shorter"):
        await response(replace(part, size=size), recorder, range(size))
    assert not recorder.messages


@pytest.mark.real_time
async def test_a_file_that_is_missing_fails_before_anything_is_sent(part: FilePart) -> None:
    part.path.unlink()
    recorder = Recorder()
    with pytest.raises(FileNotFoundError):
        await response(part, recorder)
    assert not recorder.messages


@pytest.mark.real_time
async def test_a_file_that_becomes_shorter_meanwhile_breaks_the_response_off(part: FilePart) -> None:
    recorder = Recorder()

    async def send(message: Message) -> None:
        await recorder(message)
        if len(recorder.pieces) == 1:
            with part.path.open("r+b") as file:
                file.truncate(CHUNK_BYTES + 500)

    with pytest.raises(OSError, match="shorter"):
        await response(part, send)
    assert len(recorder.pieces) == 1
    assert recorder.messages[-1]["more_body"] is True
