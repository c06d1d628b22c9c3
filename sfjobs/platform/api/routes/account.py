"""Who are you: an API key for an access token, and the ping that tells a good key from a bad one."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response

from ...errors import ApiError
from ..request_body import read_body
from ..responses import CompactJSONResponse
from ..tokens import AccessTokens

TOKEN_PATH: Final = "/auth/realms/platform/protocol/openid-connect/token"  # noqa: S105 - a path
_LARGEST_FORM: Final = 16 << 10


class AccountRoutes:
    def __init__(self, tokens: AccessTokens) -> None:
        self._tokens = tokens

    async def token(self, request: Request) -> Response:
        """The refresh-token grant of OAuth 2.0 (RFC 6749, section 6), where the API key is the refresh token."""
        body = await read_body(request, _LARGEST_FORM)
        try:
            form = parse_qs(body.decode(), max_num_fields=20)
        except ValueError as error:
            raise _refused("invalid_request", "The form cannot be read.") from error
        if form.get("grant_type") != ["refresh_token"]:
            raise _refused("unsupported_grant_type", "The grant type must be refresh_token.")
        access_token = await self._tokens.exchange(form.get("refresh_token", [""])[0])
        if access_token is None:
            raise _refused("invalid_grant", "The API key is missing or not valid.")
        answer = {
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": int(self._tokens.lifetime),
            "refresh_expires_in": 0,
            "scope": "",
        }
        return CompactJSONResponse(answer, headers={"cache-control": "no-store"})

    async def healthz(self, _: Request) -> Response:
        """Reached only with a good token, which is what a client asks by it."""
        return CompactJSONResponse({"status": "ok"})


def _refused(error: str, description: str) -> ApiError:
    """OAuth's error (RFC 6749, section 5.2) and the platform's in one body."""
    extra = {"error": error, "error_description": description}
    return ApiError(400, error.replace("_", "-"), description, headers={"cache-control": "no-store"}, extra=extra)
