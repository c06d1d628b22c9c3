"""
A submission as it came, with its idempotency key. The first submission of an account with a key stays the only one; its response
is given again, byte for byte.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..errors import ApiError, invalid
from ..records import IdempotencyKey, JobRecord
from .representation import compact_json, job_object

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class IncomingSubmission:
    """The fields of a job, not validated yet, and the idempotency key of the submission."""

    fields: Mapping[str, Any]
    key: IdempotencyKey | None = None


def parse_submission(fields: Mapping[str, Any], key: str | None) -> IncomingSubmission:
    """Make a submission of a JSON object and a checked key. Raises ``ApiError``."""
    if key is None:
        return IncomingSubmission(fields)
    try:
        # Equal for equal fields in any order, alone or in a batch.
        fingerprint = hashlib.sha256(compact_json(dict(sorted(fields.items())))).hexdigest()
    except RecursionError as error:  # so deep that it can just be read, but not be written again
        raise invalid({"_schema": ["Nested too deeply."]}) from error
    return IncomingSubmission(fields, IdempotencyKey(value=key, fingerprint=fingerprint, response_body=accepted_body))


def parse_batch_item(item: object) -> IncomingSubmission | ApiError:
    """Make a submission of one item of a batch, which has the key among its fields."""
    if not isinstance(item, dict):
        return invalid({"_schema": ["Invalid input type."]})
    fields = dict(item)
    key = fields.pop("idempotency_key", None)
    try:
        return parse_submission(fields, None if key is None else checked_key(key, "idempotency_key"))
    except ApiError as error:
        return error


def checked_key(text: object, field: str) -> str:
    """Return a valid idempotency key. Raises ``ApiError`` 400, which names ``field``."""
    if not isinstance(text, str) or not _KEY.fullmatch(text):
        raise invalid({field: ["Must be 1 to 255 visible ASCII characters."]})
    return text


def accepted_body(record: JobRecord) -> bytes:
    """Return the body of the 201 to a submission."""
    return compact_json(job_object(record, None))
