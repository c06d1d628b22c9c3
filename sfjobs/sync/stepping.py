"""One step of an async iterator, as a call over the bridge takes it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeVar

T = TypeVar("T")


async def next_of(items: AsyncIterator[T]) -> list[T]:
    """The next item alone, or nothing: StopAsyncIteration must not cross from one thread to another."""
    try:
        return [await anext(items)]
    except StopAsyncIteration:
        return []
