"""
The platform's clock, as the ``Date`` headers of its responses show it (RFC 9110, 6.6.1). This machine's clock may be hours away
from it, so a moment of the platform is never compared with a moment of this machine.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime

from .messages import Response
from .retry import http_date

_LAST_YEAR = 2200
"""Far dates have no time of this machine to compare with."""


class PlatformClock:
    """How far the platform's clock is ahead of this machine's, in seconds. None as long as no response has shown it."""

    def __init__(self) -> None:
        self.offset: float | None = None
        self._latest: str | None = None

    def now(self) -> float:
        """Return the platform's time in seconds since the epoch, or this machine's as long as that is all there is."""
        return time.time() + (self.offset or 0.0)

    def dated(self, response: Response) -> Response:
        """Note the date of a response. One without a usable date is returned with the date that it should have."""
        text = response.headers.get("date")
        if text is not None and text == self._latest:
            return response
        date = http_date(text)
        if date is not None and date.year < _LAST_YEAR:
            # A header has whole seconds. Half a second is the least wrong.
            self.offset, self._latest = date.timestamp() + 0.5 - time.time(), text
        elif self.offset is not None and "retry-after" in response.headers:
            now = format_datetime(datetime.fromtimestamp(self.now(), UTC), usegmt=True)
            headers: Mapping[str, str] = {**response.headers, "date": now}
            return replace(response, headers=headers)
        return response
