"""Permits of requests for tokens: they wait for no other request, and count like any other."""

from __future__ import annotations

from contextlib import AsyncExitStack

import anyio
import pytest

from sfjobs._http.rate_limiter import RateLimiter
from sfjobs._http.rate_model import INITIAL_WIDTH


@pytest.mark.parametrize("others", [0, 1, INITIAL_WIDTH])
async def test_a_token_request_beside_others_counts_once_and_is_counted_out(others: int) -> None:
    """Counted wrongly, the slow start would let too many requests out at once, or none at all."""
    limiter = RateLimiter()
    async with AsyncExitStack() as stack:
        for _ in range(others):
            await stack.enter_async_context(limiter.permit("query"))
        async with limiter.token_permit():
            async with limiter.token_permit():
                assert limiter.in_flight == others + 2
            assert limiter.in_flight == others + 1
        assert limiter.in_flight == others
    assert limiter.in_flight == 0


async def test_a_token_request_goes_out_while_the_width_is_full() -> None:
    limiter = RateLimiter()
    async with AsyncExitStack() as stack:
        for _ in range(INITIAL_WIDTH):
            await stack.enter_async_context(limiter.permit("query"))
        with anyio.fail_after(0.001):
            async with limiter.token_permit():
                pass
