"""
A text that must never be seen by accident: an API key or an access token. Everything that holds one holds a ``Secret``, and
``reveal()`` is called only where the text is put on the wire. ``config`` offers the name to the outside.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from hashlib import blake2b
from typing import NoReturn, Self

_MASK = "***"
_SALT = os.urandom(16)


class Secret:
    """
    Hides ``text``: ``repr``, ``str``, ``format``, ``vars``, ``dataclasses.asdict`` and the locals of a traceback show
    ``***``; it cannot be pickled. Two secrets are equal if their texts are, and comparing takes the same time either way.
    """

    # A closure, not an attribute: tools that walk through attributes (rich.inspect, debuggers' summaries) find no text.
    __slots__ = ("_read",)

    def __init__(self, text: str) -> None:
        self._read: Callable[[], str] = lambda: text

    @classmethod
    def wrap(cls, value: str | Secret | None) -> Secret | None:
        """``value`` as a secret; one that is a secret already, and None, are returned as they are."""
        return cls(value) if isinstance(value, str) else value

    def reveal(self) -> str:
        """The text itself. Use it in the expression that needs it; a variable would show in a traceback's locals."""
        return self._read()

    def __repr__(self) -> str:
        return f"Secret({_MASK!r})"

    def __str__(self) -> str:
        return _MASK

    def __format__(self, format_spec: str) -> str:
        return format(_MASK, format_spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_bytes(self), _bytes(other))

    def __hash__(self) -> int:
        return hash(blake2b(_bytes(self), key=_SALT).digest())

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled: load the settings again where they are needed")


def _bytes(secret: Secret) -> bytes:
    return secret.reveal().encode("utf-8", "surrogatepass")
