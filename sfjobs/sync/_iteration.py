"""Steps of an async iterator, as calls over the bridge take them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from .connection import Connection

T = TypeVar("T")


async def next_of(items: AsyncIterator[T]) -> list[T]:
    """The next item alone, or nothing: StopAsyncIteration must not cross from one thread to another."""
    try:
        return [await anext(items)]
    except StopAsyncIteration:
        return []


def each(connection: Connection, items: AsyncIterator[T]) -> Iterator[T]:
    """Pulls one item at a time over the connection's bridge."""
    while found := connection.call(next_of, items):
        yield from found
