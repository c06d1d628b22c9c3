"""
The end of a wait whose timeout has passed before a poll: with a timeout of zero, or because this process was stopped
meanwhile. The jobs are polled once, so that no old status is reported.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import anyio

from .._http.retry import is_transient
from ..errors import SFJobsError
from .job_state import JobState

LATE_SECONDS: Final = 1.0
"""A process that notices its timeout this much later was stopped, or its event loop was blocked."""

LAST_POLL_SECONDS: Final = 10.0
"""Time for the poll after the timeout, and for the results of the jobs that have completed."""


class Deadline:
    """The timeout of one wait in seconds, None for no timeout; it begins when this is made."""

    def __init__(self, timeout: float | None) -> None:
        self._start = anyio.current_time()
        self.time = float("inf") if timeout is None else self._start + timeout

    def scope(self) -> anyio.CancelScope:
        """Return a scope that is cancelled when the time is over."""
        return anyio.CancelScope(deadline=self.time)

    async def poll_unpolled(self, states: Iterable[JobState]) -> bool:
        """
        Poll once the jobs that have not been polled in time, and return whether one of them has ended. The caller's timeout has
        passed, so this has a limit of its own. Raises an error that is not transient.
        """
        late = anyio.current_time() - self.time > LATE_SECONDS
        if not late and self.time > self._start:
            return False
        since = self.time if late else self._start
        unpolled = [
            state
            for state in states
            if not state.status.is_final and (state.asked_at is None or state.asked_at < since)
        ]
        if unpolled:
            with anyio.move_on_after(LAST_POLL_SECONDS):
                try:
                    await unpolled[0].session.poller.query_once(unpolled)
                except SFJobsError as error:
                    if not is_transient(error):
                        raise
        return any(state.status.is_final for state in unpolled)
