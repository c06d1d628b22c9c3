"""What the poller does not wait for without end: a leader that does not stop, and a job that the platform does not know."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest

from sfjobs._protocol.wire import Known
from sfjobs._tracking.leadership import CLOSE_TIMEOUT_SECONDS
from sfjobs._tracking.types import StatusReport
from sfjobs._tracking.watchlist import MAX_MISSES
from sfjobs.errors import ConnectionClosedError, NotFoundError
from tests.support.feed_source import FeedSource, poller_for, wait_for
from tests.support.handles import Handle


class StuckSource(FeedSource):
    """Polls that cannot be cancelled, as those of a leader that was left behind in the parent of a fork."""

    async def query(self, ids: Sequence[str], known: Known) -> StatusReport:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(1000)
        return await super().query(ids, known)


async def test_closing_waits_a_bounded_time_for_a_leader_that_does_not_stop() -> None:
    poller = poller_for(StuckSource({"a": 1.0}))

    async def wait() -> None:
        with pytest.raises(ConnectionClosedError):
            await wait_for(poller, [Handle("a")])

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.sleep(5)
        started = anyio.current_time()
        await poller.aclose()
        assert anyio.current_time() == pytest.approx(started + CLOSE_TIMEOUT_SECONDS)


class ForgetfulSource(FeedSource):
    """A platform without a list, whose first answers about a new job are 404."""

    batch_limit = 1

    def __init__(self, unknown_polls: int) -> None:
        super().__init__({})
        self.ended.append("new")
        self.unknown_polls = unknown_polls

    async def query(self, ids: Sequence[str], known: Known) -> StatusReport:
        report = await super().query(ids, known)
        if self.polls <= self.unknown_polls:
            raise NotFoundError("no such job", status_code=404)
        return StatusReport(report.snapshots)


async def test_a_job_that_the_platform_does_not_know_yet_is_polled_again() -> None:
    source = ForgetfulSource(MAX_MISSES - 1)
    waiter = await wait_for(poller_for(source), [Handle("new")])
    outcome = waiter.outcomes["new"]
    assert not isinstance(outcome, Exception)
    assert source.polls == MAX_MISSES


async def test_a_job_that_the_platform_never_knows_ends_in_its_error() -> None:
    source = ForgetfulSource(1000)
    waiter = await wait_for(poller_for(source), [Handle("new")])
    assert isinstance(waiter.outcomes["new"], NotFoundError)
    assert source.polls == MAX_MISSES
