"""
Errors that become error responses. ``api/responses`` writes the responses; every layer of the platform may raise the errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(eq=False)
class ApiError(Exception):
    """An error response. ``meta`` of a ``validation-error`` maps fields to lists of messages, as the public clients expect."""

    status_code: int
    code: str
    detail: str
    meta: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] | None = field(default=None, kw_only=True)
    extra: Mapping[str, object] = field(default_factory=dict, kw_only=True)

    def content(self) -> dict[str, object]:
        """Return the JSON of the response."""
        error = {"status_code": self.status_code, "code": self.code, "detail": self.detail, "meta": self.meta}
        return {**error, **self.extra}


class ClientGone(Exception):
    """The client disconnected, so that its request was stopped. It gets no response."""


def invalid(errors: Mapping[str, Sequence[str] | Mapping[str, Sequence[str]]]) -> ApiError:
    """Return a 400 with messages by field, or by field and index."""
    return ApiError(400, "validation-error", "The request is not valid.", errors)


def not_found(detail: str) -> ApiError:
    """Return a 404."""
    return ApiError(404, "not-found", detail)


def too_large(what: str, limit: int, option: str | None = None) -> ApiError:
    """
    Return a 413, which closes the connection, since the rest of the body is not read. ``option`` is that of ``sfjobs serve`` for
    this limit.
    """
    detail = f"{what} is larger than the {limit} bytes allowed"
    if option is not None:
        detail += f". The platform's operator can allow more: sfjobs serve {option}"
    return ApiError(413, "payload-too-large", detail, headers={"connection": "close"})


def server_error() -> ApiError:
    """Return a 500, which shows nothing of the cause."""
    return ApiError(500, "server-error", "The platform failed at this request; its log says more.")
