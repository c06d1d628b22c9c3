"""
Masks secrets in what errors and logs quote of a response. What is parsed keeps them: an API key may be an ordinary word, such as
``complete``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from os.path import commonprefix
from typing import cast

from .._protocol.wire import ErrorFields
from ..config import Secret
from ..models import JSONValue

_PREFIX_LENGTH = 8
"""Characters of a secret that are masked without the rest, since an excerpt may end within the secret."""

_NO_WORD_LENGTH = 16
"""Characters of a secret that is certainly no part of an error code of the protocol."""


def masked(text: str, secrets: Iterable[Secret]) -> str:
    """Return ``text`` with a mask in place of each secret and of its beginnings."""
    for secret in secrets:
        text = "".join(_without(text, secret))
    return text


def masked_json(value: JSONValue, secrets: Iterable[Secret]) -> JSONValue:
    """Return a JSON value with masks in its texts and names."""
    secrets = tuple(secrets)
    if isinstance(value, str):
        return masked(value, secrets)
    if isinstance(value, Mapping):
        return {masked(key, secrets): masked_json(part, secrets) for key, part in value.items()}
    return [masked_json(part, secrets) for part in value] if isinstance(value, list) else value


def masked_fields(fields: ErrorFields, secrets: Iterable[Secret]) -> ErrorFields:
    """Return the fields of an error response with masks. The code, which decides what is done, is masked if it is no word."""
    code, detail, meta = fields
    secrets = tuple(secrets)
    plain = (secret for secret in secrets if len(secret.reveal()) >= _NO_WORD_LENGTH or secret.reveal() == code)
    masked_meta = cast("Mapping[str, JSONValue]", masked_json(meta, secrets))
    return masked(code, plain), masked(detail, secrets), masked_meta


def _without(text: str, secret: Secret) -> Iterator[str]:
    """Yield the pieces of ``text``, with a mask in place of the secret and of its beginnings."""
    start = secret.reveal()[:_PREFIX_LENGTH]
    while start and (place := text.find(start)) >= 0:
        yield text[:place] + "***"
        text = text[place:].removeprefix(commonprefix((text[place:], secret.reveal())))  # noqa: RUF071 - no paths
    yield text
