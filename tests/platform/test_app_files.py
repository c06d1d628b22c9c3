"""A result leaves in large pieces, is never held as a whole, and is not read for a client that has gone."""

from __future__ import annotations

import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from starlette.types import Message

from sfjobs.platform.answers import FILE_CHUNK, FileAnswer

pytestmark = pytest.mark.real_time

SIZE = 5 * FILE_CHUNK


async def answer(path: Path, send: Callable[[Message], Awaitable[None]], *, gone: bool = False) -> None:
    async def receive() -> Message:
        if not gone:
            await anyio.sleep_forever()
        return {"type": "http.disconnect"}

    file = FileAnswer(path, offset=10, size=SIZE, media_type="application/zip", headers={})
    await file({"type": "http", "method": "GET"}, receive, send)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "result"
    file.write_bytes(b"-" * 10 + b"x" * SIZE + b"-" * 10)
    return file


async def test_only_the_asked_bytes_leave_in_pieces_of_a_quarter_mebibyte_and_more(path: Path) -> None:
    pieces: list[bytes] = []

    async def send(message: Message) -> None:
        pieces.append(message.get("body", b""))

    await answer(path, send)
    assert b"".join(pieces) == b"x" * SIZE
    assert all(len(piece) >= 256 << 10 for piece in pieces if piece)


async def test_no_more_than_a_few_pieces_are_held(path: Path) -> None:
    async def send(_: Message) -> None:
        return

    tracemalloc.start()
    try:
        await answer(path, send)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * FILE_CHUNK


async def test_a_client_that_has_gone_ends_the_reading(path: Path) -> None:
    sent = 0

    async def send(_: Message) -> None:
        nonlocal sent
        sent += 1
        await anyio.lowlevel.checkpoint()

    await answer(path, send, gone=True)
    assert sent < 1 + SIZE // FILE_CHUNK


@pytest.fixture
def shorter(path: Path) -> Path:
    path.write_bytes(b"x" * FILE_CHUNK)
    return path


async def test_a_file_that_became_shorter_breaks_the_answer_off(shorter: Path) -> None:
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    with pytest.raises(ExceptionGroup) as caught:
        await answer(shorter, send)
    assert caught.group_contains(OSError)
    assert messages[-1].get("more_body") is True
