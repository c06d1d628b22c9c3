"""
Reads a list whose JSON is invalid in one item, so that the other items are not lost with it: a number of 5 000 digits, objects
1 000 deep, bytes that are not UTF-8, a line break within a text. Only called after the plain parser has failed.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|[][{},]', re.DOTALL)
_DATA = re.compile(r"\s*:\s*\[")
_ID = re.compile(r'"id"\s*:\s*"([^"\\]{1,200})"')


class UnparsableItem(NamedTuple):
    """An item of a list that is not valid JSON. ``id`` is the first in its text, None where it has none."""

    id: str | None


def salvaged(body: bytes) -> object:
    """Return the JSON value with an ``UnparsableItem`` for each item of ``data`` that is invalid. Raises ValueError."""
    text = _decoded(body)
    try:
        return _parsed(text)
    except (ValueError, RecursionError):
        start, end, items = _items_of_data(text)
    try:
        envelope = _parsed(f"{text[:start]}[]{text[end:]}")
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(envelope, dict):
        raise ValueError("not an object")  # noqa: TRY004 - of JSON, not of Python
    return {**envelope, "data": [_parsed_item(item) for item in items]}


def salvaged_item(body: bytes) -> object:
    """Return the JSON value of one item by itself, or an ``UnparsableItem``."""
    return _parsed_item(_decoded(body))


def _decoded(body: bytes) -> str:
    return body.decode("utf-8-sig", "surrogateescape")


def _parsed(text: str) -> object:
    return json.loads(text, strict=False, parse_int=_integer)


def _integer(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:  # Python converts no more than 4 300 digits
        return float(digits)


def _parsed_item(text: str) -> object:
    try:
        return _parsed(text)
    except (ValueError, RecursionError):
        found = _ID.search(text)
        return UnparsableItem(None if found is None else found[1])


def _items_of_data(text: str) -> tuple[int, int, list[str]]:
    """Return where the list ``data`` begins and ends, and the texts of its items. Brackets within texts do not count."""
    depth, start, item, items = 0, -1, 0, list[str]()
    for token in _TOKEN.finditer(text):
        match token[0]:
            case "{" | "[":
                depth += 1
                if depth == 2 and start < 0 and token.start() == item - 1:
                    start = token.start()
            case "}" | "]":
                depth -= 1
                if depth == 1 and start >= 0:
                    last = text[item : token.start()]
                    return start, token.end(), [*items, last] if items or last.strip() else []
            case ",":
                if depth == 2 and start >= 0:
                    items.append(text[item : token.start()])
                    item = token.end()
            case '"data"' if depth == 1 and start < 0 and (opening := _DATA.match(text, token.end())):
                item = opening.end()
    raise ValueError("no list that ends")
