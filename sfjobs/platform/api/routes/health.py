"""Health checks for supervisors and load balancers. They need no key, and show no path, no secret and no job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ...jobs.readiness import OK, Readiness
from ..responses import CompactJSONResponse

LIVE_PATH: Final = "/livez"
READY_PATH: Final = "/readyz"
_NOT_STORED: Final = {"cache-control": "no-store"}


@dataclass(frozen=True, slots=True)
class HealthRoutes:
    readiness: Readiness

    async def livez(self, _: Request) -> Response:
        """Answer as long as requests are answered at all. Restart the platform when this fails, not when ``readyz`` does."""
        return CompactJSONResponse({"status": OK}, headers=_NOT_STORED)

    async def readyz(self, _: Request) -> Response:
        """Say whether jobs can be accepted and run now: 200, or 503 with the part that is missing."""
        parts = await self.readiness.parts()
        draining = self.readiness.is_draining
        is_ready = not draining and all(part == OK for part in parts.values())
        content = {"status": "ready" if is_ready else "not ready", "draining": draining, **parts}
        headers = _NOT_STORED if is_ready else {**_NOT_STORED, "retry-after": "5"}
        return CompactJSONResponse(content, status_code=200 if is_ready else 503, headers=headers)
