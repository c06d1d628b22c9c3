"""The errors that the platform answers with, apart from how a response is written. Every layer of the platform may raise them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class ApiError(Exception):
    """A request that is answered with an error: ``meta`` of a ``validation-error`` maps fields to lists of messages."""

    def __init__(
        self,
        status_code: int,
        code: str,
        detail: str,
        meta: Mapping[str, object] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status_code = status_code
        self.code = code
        self.detail = detail
        self.meta = meta or {}
        self.headers = headers
        self.extra = extra or {}

    def content(self) -> dict[str, object]:
        """What the answer's JSON says."""
        return {
            "status_code": self.status_code,
            "code": self.code,
            "detail": self.detail,
            "meta": self.meta,
            **self.extra,
        }


def invalid(errors: Mapping[str, Sequence[str] | Mapping[str, Sequence[str]]]) -> ApiError:
    """400: ``errors`` are messages by field, or by field and index, as the public clients expect them."""
    return ApiError(400, "validation-error", "The request is not valid.", errors)


def not_found(what: str) -> ApiError:
    """404, worded."""
    return ApiError(404, "not-found", what)


def too_large(what: str, limit: int) -> ApiError:
    """413, which ends the connection: the rest of the body is not read."""
    return ApiError(
        413, "payload-too-large", f"{what} is larger than the {limit} bytes allowed", headers={"connection": "close"}
    )


def server_error() -> ApiError:
    """500, which tells nothing of the inside."""
    return ApiError(500, "server-error", "The platform failed at this request; its log says more.")
