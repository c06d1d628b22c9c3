"""
What requests may hold at the same time, each kind within a budget: of one account (without a token: of one address), and in all.
So an account that holds too much is refused before it harms another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..errors import ApiError
from ..limits import Limits

_OWN_RETRY_AFTER_SECONDS: Final = 2
_ALL_RETRY_AFTER_SECONDS: Final = 5


class Budget:
    """Up to ``share`` of something for each owner, ``total`` in all. ``what`` names it in refusals, with its unit."""

    def __init__(self, what: str, share: int, total: int, headers: Mapping[str, str] | None = None) -> None:
        self._what = what
        self._share = share
        self._total = total
        self._headers = headers or {}
        self._held: defaultdict[str, int] = defaultdict(int)
        self.in_use = 0

    def take(self, owner: str, amount: int = 1) -> None:
        """Add to what the owner holds. Raises ``ApiError``: 429 beyond its share, 503 if too much is held in all."""
        if self._held[owner] + amount > self._share:
            self._refuse(429, f"This account or address holds {self._what}, of which it may hold {self._share}", owner)
        if self.in_use + amount > self._total:
            self._refuse(503, f"The platform holds {self._what}, of which it may hold {self._total}", owner)
        self._held[owner] += amount
        self.in_use += amount

    def give_back(self, owner: str, amount: int = 1) -> None:
        self.in_use -= amount
        self._held[owner] -= amount
        self._drop(owner)

    @contextmanager
    def hold(self, owner: str, amount: int = 1) -> Iterator[None]:
        """Hold an amount inside the block. Raises like ``take``."""
        self.take(owner, amount)
        try:
            yield
        finally:
            self.give_back(owner, amount)

    def _refuse(self, status: int, reason: str, owner: str) -> None:
        self._drop(owner)
        seconds = _OWN_RETRY_AFTER_SECONDS if status == 429 else _ALL_RETRY_AFTER_SECONDS
        code = "too-much-at-once" if status == 429 else "overloaded"
        headers = {"retry-after": str(seconds), **self._headers}
        raise ApiError(status, code, f"{reason} at the same time. Try again later.", headers=headers)

    def _drop(self, owner: str) -> None:
        if not self._held[owner]:
            del self._held[owner]


class Budgets:
    """The budgets of one application: requests, bodies in memory (bytes), streams of the feed, and downloads."""

    def __init__(self, limits: Limits) -> None:
        self.requests = Budget("requests", limits.requests, 20 * limits.requests)
        # The rest of the body is not read, so the connection cannot be used again.
        close = {"connection": "close"}
        self.bodies = Budget("bytes of request bodies", max(limits.bodies // 4, limits.body), limits.bodies, close)
        self.streams = Budget("streams of the change feed", limits.streams, 20 * limits.streams)
        self.downloads = Budget("downloads", limits.downloads, 4 * limits.downloads)


@dataclass(slots=True)
class BodyShare:
    """The bytes that the body of one request holds, until the request has ended."""

    budget: Budget
    owner: str
    size: int = 0

    def grow(self, size: int) -> None:
        """Count received bytes. Raises ``ApiError``."""
        self.budget.take(self.owner, size)
        self.size += size

    def close(self) -> None:
        if self.size:
            self.budget.give_back(self.owner, self.size)
            self.size = 0


class HeldResponse(Response):
    """A response that is sent within a budget. Nothing of it is sent if the budget is used up."""

    def __init__(self, response: Response, budget: Budget, owner: str) -> None:
        self.response = response
        self.budget = budget
        self.owner = owner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self.budget.hold(self.owner):
            await self.response(scope, receive, send)


def owner_of(request: Request) -> str:
    """Return the account of a request, or its address if it needs no token."""
    owner: str = request.state.owner
    return owner
