"""
Turns at a scarce thing, such as the processes that check programs: first the account with the fewest turns in use, then the one
that has used the fewest seconds, then the one that has waited longest. An account that comes later starts at the use of those
that are there, so that it goes next and has no credit for the time before.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from ..errors import ApiError


@dataclass(slots=True)
class Turn:
    """A turn in use. ``extra_seconds`` are charged beside the time that it takes."""

    extra_seconds: float = 0.0


@dataclass(slots=True)
class _Turns:
    used: float = 0.0
    running: int = 0
    waiting: deque[tuple[int, anyio.Event]] = field(default_factory=deque)


class FairTurns:
    """
    Up to ``slots`` turns at the same time, and up to ``most_waiting`` waiting for one account, ``most_waiting_in_all`` in all.
    ``clock`` gives seconds.
    """

    def __init__(
        self,
        slots: int,
        *,
        most_waiting: int = 100,
        most_waiting_in_all: int = 1000,
        clock: Callable[[], float] = anyio.current_time,
    ) -> None:
        self._free = slots
        self._most_waiting = most_waiting
        self._most_waiting_in_all = most_waiting_in_all
        self._clock = clock
        self._arrivals = itertools.count()
        self._accounts: dict[str, _Turns] = {}
        self._level = 0.0
        self.waiting = 0

    @asynccontextmanager
    async def turn(self, account: str) -> AsyncIterator[Turn]:
        """
        Wait for a turn and use it; the account is charged the seconds that it takes. Raises ``ApiError``: 429 if too many of the
        account wait, 503 if too many of all accounts do.
        """
        if self._free and not self.waiting:
            self._begin(account)
        else:
            await self._wait(account)
        turn, began = Turn(), self._clock()
        try:
            yield turn
        finally:
            state = self._accounts[account]
            state.used += self._clock() - began + turn.extra_seconds
            state.running -= 1
            self._free += 1
            self._start_next()
            self._forget_idle()

    def _begin(self, account: str) -> None:
        state = self._state(account)
        self._level = max(self._level, state.used)
        state.running += 1
        self._free -= 1

    def _state(self, account: str) -> _Turns:
        state = self._accounts.setdefault(account, _Turns())
        if not (state.running or state.waiting):
            state.used = max(state.used, self._level)
        return state

    async def _wait(self, account: str) -> None:
        state = self._state(account)
        if len(state.waiting) >= self._most_waiting:
            detail = f"{self._most_waiting} programs of the account wait for their check, the most that may."
            raise ApiError(429, "too-many-checks", f"{detail} Submit again later.", headers={"retry-after": "2"})
        if self.waiting >= self._most_waiting_in_all:
            detail = "Too many programs wait for their check. Submit again later."
            raise ApiError(503, "too-many-checks", detail, headers={"retry-after": "5"})
        place = (next(self._arrivals), anyio.Event())
        state.waiting.append(place)
        self.waiting += 1
        try:
            await place[1].wait()
        except BaseException:
            if place[1].is_set():  # the turn had come already
                state.running -= 1
                self._free += 1
            else:
                state.waiting.remove(place)
                self.waiting -= 1
            self._start_next()
            self._forget_idle()
            raise

    def _start_next(self) -> None:
        while self._free and self.waiting:
            account = min(
                (name for name, state in self._accounts.items() if state.waiting),
                key=lambda name: (
                    self._accounts[name].running,
                    self._accounts[name].used,
                    self._accounts[name].waiting[0][0],
                ),
            )
            _, event = self._accounts[account].waiting.popleft()
            self.waiting -= 1
            self._begin(account)
            event.set()

    def _forget_idle(self) -> None:
        """Forget accounts without a turn and a place, once the others have used as much; and all when there are no others."""
        busy = {name: state for name, state in self._accounts.items() if state.running or state.waiting}
        if busy:
            self._accounts = {
                name: state for name, state in self._accounts.items() if name in busy or state.used > self._level
            }
        else:
            self._accounts, self._level = {}, 0.0
