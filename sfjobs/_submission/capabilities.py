"""Which extensions of the protocol (section 11) a platform has: batches and idempotency keys, learnt from its responses."""

from __future__ import annotations

import logging
from typing import Literal

from .._http.messages import Response

logger = logging.getLogger("sfjobs")

BATCH_MEDIA_TYPE = "application/jobs+json"

MAX_BATCH_SIZE = 100
"""Submissions in one request."""

MAX_BATCH_BYTES = 4 * 2**20
"""Bytes of one batch, unless it is a single submission that is larger."""


class PlatformCapabilities:
    """
    What the responses to submissions have shown; so the first submissions go singly.

    ``honours_keys``: a request that is sent twice makes one job. Batches do not imply it: no request is sent twice before the
    platform has echoed a key.
    """

    def __init__(self, api_version: Literal["0.4.0", "0.2.0"]) -> None:
        self.honours_keys = False
        self.max_batch_bytes = MAX_BATCH_BYTES
        self._offers_batches = False
        self._may_offer_batches = api_version != "0.2.0"

    @property
    def max_batch_size(self) -> int:
        """How many submissions may go in one request at present."""
        return MAX_BATCH_SIZE if self._offers_batches else 1

    def learn(self, response: Response) -> None:
        """Learn from an accepted request whether the platform offers batches (``Accept-Post``)."""
        offered = response.headers.get("accept-post", "").split(",")
        offers = self._may_offer_batches and any(
            media_type.partition(";")[0].strip().lower() == BATCH_MEDIA_TYPE for media_type in offered
        )
        if self._offers_batches and not offers:
            logger.info("the platform no longer offers batches: submitting one at a time")
        self._offers_batches = offers

    def stop_batches(self, reason: str) -> None:
        """Submit singly from now on."""
        if self._may_offer_batches:
            logger.info("the platform refuses batches: submitting one at a time (%s)", reason)
        self._may_offer_batches = self._offers_batches = False
