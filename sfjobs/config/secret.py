"""
``Secret``: an API key or access token that must never be shown by accident. All code passes it on as a ``Secret`` and calls
``reveal()`` only where the text is sent.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, NoReturn, Self

from .._util import pydantic_schemas

_MASK = "***"
_SALT = os.urandom(16)


class Secret:
    """
    A text that ``repr``, ``str``, ``format``, ``vars``, ``dataclasses.asdict`` and the locals of a traceback show as ``***``.

    Two secrets are equal if their texts are equal; the comparison takes constant time.

    Raises:
        TypeError: the secret is pickled.
    """

    # A closure, not an attribute: tools that list attributes (rich.inspect, debuggers) find no text.
    __slots__ = ("_read",)

    def __init__(self, text: str) -> None:
        self._read: Callable[[], str] = lambda: text

    @classmethod
    def wrap(cls, value: str | Secret | None) -> Secret | None:
        """Return a text as a secret; a secret and None are returned unchanged."""
        return cls(value) if isinstance(value, str) else value

    def reveal(self) -> str:
        """Return the text. Call it in the expression that needs it: a variable would show in a traceback's locals."""
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

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: pydantic_schemas.Handler) -> Any:
        return pydantic_schemas.instances(cls, str, cls)


def _bytes(secret: Secret) -> bytes:
    return secret.reveal().encode("utf-8", "surrogatepass")
