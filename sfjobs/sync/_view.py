"""The base classes of everything here: an async object and the portal to its event loop, and ``with``."""

from __future__ import annotations

from typing import Generic, NoReturn, Self, TypeVar

from .._util.handles import Handle
from ._portal import Portal

T = TypeVar("T", bound=Handle)


class View(Handle, Generic[T]):
    """A blocking object. Its methods run those of an async one, its twin, through a portal."""

    __slots__ = ("_async", "_portal")

    def __init__(self, twin: T, portal: Portal) -> None:
        self._async = twin
        self._portal = portal

    def __repr__(self) -> str:
        return repr(self._async)

    def __reduce__(self) -> NoReturn:
        self._async.__reduce__()


def unwrap(view: View[T]) -> tuple[T, Portal]:
    """Return the async twin of a blocking object, and the portal to its event loop: for modules of this package and for tests."""
    return view._async, view._portal  # noqa: SLF001


class Closeable(Handle):
    """A context manager that closes itself at the end of its block."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
