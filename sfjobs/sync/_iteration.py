"""Steps of an async iterator, each of them one blocking call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TypeVar

from ._portal import Portal

T = TypeVar("T")


async def next_item(items: AsyncIterator[T]) -> list[T]:
    """Return the next item alone in a list, or an empty list: StopAsyncIteration must not cross from one thread to another."""
    try:
        return [await anext(items)]
    except StopAsyncIteration:
        return []


def iterate(portal: Portal, items: AsyncIterator[T]) -> Iterator[T]:
    """Yield the items one by one, each by a call through the portal."""
    while found := portal.call(next_item, items):
        yield from found
