"""
Readers of single fields of JSON. Each returns a value of the right type or raises ``MalformedResponse``, whose message names the
field. ``wire`` decides which fields may be missing or unreadable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from typing import cast

from ..models import JobStatus, JSONValue
from .salvage import UnparsableItem

MAX_WORD_LENGTH = 100
_MAX_RUNNING_TIME_SECONDS = 1e12


class MalformedResponse(ValueError):
    """A response that is JSON but breaks the protocol. The message names the field."""


def mapping(value: object, what: str) -> Mapping[str, JSONValue]:
    if not isinstance(value, dict):  # the only mapping that JSON makes; checking for Mapping is slower
        raise MalformedResponse(f"{what} is not an object: {excerpt(value)}")
    return cast("Mapping[str, JSONValue]", value)


def optional_mapping(fields: Mapping[str, JSONValue], key: str) -> Mapping[str, JSONValue]:
    value = fields.get(key)
    return {} if value is None else mapping(value, key)


def data(response: object) -> Sequence[JSONValue]:
    """Return the items of a list response."""
    found = mapping(response, "the list").get("data")
    if not isinstance(found, list):
        raise MalformedResponse(f"data is not a list: {excerpt(found)}")
    return found


def status(word: object) -> JobStatus:
    if not isinstance(word, str) or not word or len(word) > MAX_WORD_LENGTH or not word.isprintable():
        raise MalformedResponse(f"the job's status is not a word: {excerpt(word)}")
    return JobStatus(word)


def text(fields: Mapping[str, JSONValue], key: str) -> str | None:
    value = fields.get(key)
    if value is None or (isinstance(value, str) and (value.isascii() or _is_unicode(value))):
        return value
    raise MalformedResponse(f"{key} is not a text: {excerpt(value)}")


def required_text(fields: Mapping[str, JSONValue], key: str) -> str:
    value = text(fields, key)
    if not value:
        raise MalformedResponse(f"{key} is missing")
    return value


def moment(fields: Mapping[str, JSONValue], key: str) -> datetime | None:
    """Return a time with its time zone, which is UTC where the field has none."""
    value = fields.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise MalformedResponse(f"{key} is not a text: {excerpt(value)}")
    try:
        when = datetime.fromisoformat(value)
    except ValueError:
        raise MalformedResponse(f"{key} is not an ISO 8601 time: {excerpt(value)}") from None
    if not 1 < when.year < 9999:  # no time zone can be applied to it; "0001-01-01" is how some programs write "never"
        raise MalformedResponse(f"{key} is a time out of range: {excerpt(value)}")
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def seconds(fields: Mapping[str, JSONValue], key: str) -> float | None:
    value = fields.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _MAX_RUNNING_TIME_SECONDS:
        raise MalformedResponse(f"{key} is not a number of seconds: {excerpt(value)}")
    return float(value)


def times(day: str, span: JSONValue) -> tuple[time, time]:
    """Return the start and the end of the uptime of a day. 24:00 is no time of Python."""
    try:
        start, end = cast("Sequence[str]", span)
        if start.startswith("24") or end.startswith("24"):  # later versions of Python read it as the start of the day
            raise ValueError
        return time.fromisoformat(start), time.fromisoformat(end)
    except (TypeError, ValueError, AttributeError):
        raise MalformedResponse(f"expected_uptime of {day[:20]} is not two times: {excerpt(span)}") from None


def excerpt(value: object) -> str:
    """What the platform sent, short enough for a message."""
    if isinstance(value, str):
        return repr(value[:60])
    if value is None or isinstance(value, (bool, float)):
        return repr(value)
    if isinstance(value, UnparsableItem):
        return "text that is not JSON"
    return f"a JSON {'object' if isinstance(value, Mapping) else 'list' if isinstance(value, list) else 'number'}"


def _is_unicode(value: str) -> bool:
    """Whether the text has no half of a surrogate pair, which could be neither printed nor written to a file."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
