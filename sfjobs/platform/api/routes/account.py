"""The token endpoint, and the ping by which clients check their API key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response

from ...errors import ApiError
from ..request_body import read_body
from ..responses import CompactJSONResponse
from ..tokens import AccessTokens

TOKEN_PATH: Final = "/auth/realms/platform/protocol/openid-connect/token"  # noqa: S105 - a path
_MAX_FORM_BYTES: Final = 16 << 10


@dataclass(frozen=True, slots=True)
class AccountRoutes:
    tokens: AccessTokens

    async def token(self, request: Request) -> Response:
        """Answer the refresh-token grant of OAuth 2.0 (RFC 6749, section 6), where the API key is the refresh token."""
        body = await read_body(request, _MAX_FORM_BYTES)
        try:
            form = parse_qs(body.decode(), max_num_fields=20)
        except ValueError as error:
            raise _oauth_error("invalid_request", "The form cannot be read.") from error
        if form.get("grant_type") != ["refresh_token"]:
            raise _oauth_error("unsupported_grant_type", "The grant type must be refresh_token.")
        access_token = await self.tokens.exchange(form.get("refresh_token", [""])[0])
        if access_token is None:
            raise _oauth_error("invalid_grant", "The API key is missing or not valid.")
        expiry = {"expires_in": int(self.tokens.lifetime), "refresh_expires_in": 0}
        content = {"access_token": access_token, "token_type": "Bearer", **expiry, "scope": ""}
        return CompactJSONResponse(content, headers={"cache-control": "no-store"})

    async def healthz(self, _: Request) -> Response:
        """Answer a ping. Only requests with a valid token come here, which is what a client wants to know."""
        return CompactJSONResponse({"status": "ok"})


def _oauth_error(error: str, description: str) -> ApiError:
    """Return an error with the fields of OAuth (RFC 6749, section 5.2) and those of the platform."""
    extra = {"error": error, "error_description": description}
    return ApiError(400, error.replace("_", "-"), description, headers={"cache-control": "no-store"}, extra=extra)
