"""
Who asks the platform about which jobs, and when.

Nothing runs in the background. Every waiter brings a ``Waiter`` for the jobs it waits for, and one of them, the leader, asks
about all jobs of all waiters inside its own task. When it has what it waited for, or is cancelled, another takes over:

    waiter A   settle ──lead──ask──ask──done
    waiter B   settle ──────wait────────lead──ask──cancelled
    waiter C   settle ────────────wait─────────────lead──ask──done

So a cancelled waiter stops at once and hurts nobody, an abandoned connection leaves nothing running, and no error arrives
wrapped in a group. State needs no lock: it changes only between awaits of one event loop.

Where the platform offers a change feed, the leader listens to it as well, and asks only about what the feed does not tell. The
stream is handed over with the leadership. ``inquirers`` and ``feed`` are the ways to reach the platform, ``watchlist`` knows
what is watched and what becomes of it.
"""

from __future__ import annotations

import copy
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NoReturn, Protocol

import anyio
import anyio.lowlevel

from .._http.retry import is_transient
from .._protocol.wire import Known
from .._util.aio import plain_task_group
from ..errors import AuthenticationError, ConnectionClosedError, ResponseError, SFJobsError, TransportError
from ..models import JobSnapshot
from .change_feed import ChangeFeed
from .feed_listener import FeedListener
from .outages import OutageMonitor
from .types import (
    JobHandle,
    NoListError,
    Outcome,
    PollInterval,
    PollOutlook,
    StatusReport,
    StatusSource,
    TrackedJob,
    Waiter,
)
from .watchlist import JobTracker

logger = logging.getLogger("sfjobs")

AT_ONCE = 4
"""Requests of one sweep that are under way together."""


HASTE = 5.0
"""Seconds for which closing waits for a cancelled leader to clean up after itself, which takes no time at all."""

EARLY = 0.5
"""Shares of the pause between two sweeps by which a job may be asked about before it is due, together with others."""


class Questions(Protocol):
    """The ways to ask that a platform has shown: about ``many``, which may turn out to be impossible, and about one."""

    @property
    def many(self) -> StatusSource: ...

    @property
    def single(self) -> StatusSource: ...

    async def ask(self, ids: Sequence[str], known: Known) -> StatusReport: ...


class Poller:
    """The shared poller of one connection."""

    def __init__(
        self,
        questions: Questions,
        feed: ChangeFeed | None = None,
        interval: PollInterval | None = None,
        *,
        draw: Callable[[], float] = random.random,
    ) -> None:
        interval = interval or PollInterval()
        self._questions = questions
        self._interval = interval
        self._watched = JobTracker(interval, draw)
        self._weather = OutageMonitor(interval)
        self._listener = FeedListener(feed or ChangeFeed(_no_stream), self._watched, self._weather, self._interrupt)
        self._waiting: dict[Waiter, None] = {}  # in the order of their coming
        self._leader: Waiter | None = None
        self._heir: Waiter | None = None
        self._asking: anyio.CancelScope | None = None
        self._led = anyio.Event()  # set while nobody leads
        self._led.set()
        self._swept_until = float("-inf")
        self._nudge = anyio.Event()
        self._pause: anyio.CancelScope | None = None
        self._abandoned: deque[Waiter] = deque()
        self._closed = False

    @property
    def interval(self) -> PollInterval:
        """How often is asked."""
        return self._interval

    @property
    def watched(self) -> int:
        """How many jobs are being asked about."""
        self._clear_abandoned()
        return len(self._watched)

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits, leads or is watched."""
        return not self.watched and not self._waiting and self._leader is None

    def join(self, subjects: Iterable[JobHandle], *, wants_changes: bool = False) -> Waiter:
        """A waiter for ``subjects``. Whoever joins must ``leave``; ``abandon`` will do from a finalizer."""
        self._check_open()
        self._clear_abandoned()
        waiter, now = Waiter(subjects, wants_changes=wants_changes), anyio.current_time()
        self._listener.catch_up(waiter, now)
        self._watched.join(waiter, now, hold=self._listener.hold(now))
        return waiter

    async def wait_for(self, waiter: Waiter, need: int | None = None) -> Mapping[str, Outcome]:
        """
        Waits until ``need`` of the waiter's jobs (all by default) have an outcome: the final snapshot, or the error that
        ends the asking about that one job; or until there is a change, for one that wants changes. Raises what ends the
        asking altogether, an instance of its own for each waiter.
        """
        waiter.need = len(waiter.subjects) if need is None else min(need, len(waiter.subjects))
        waiter.deadline = anyio.current_effective_deadline()
        if not waiter.is_settled:
            self._begin_waiting(waiter)
        try:
            if waiter.is_settled:
                await anyio.lowlevel.checkpoint()
            while not waiter.is_settled:
                self._check_open()
                if self._leader is None:
                    await self._lead(waiter)
                else:
                    if waiter.wake.is_set():
                        waiter.wake = anyio.Event()
                    await waiter.wake.wait()
        finally:
            waiter.is_waiting = False
            self._waiting.pop(waiter, None)
            self._hand_over()
        if waiter.error is not None:
            raise _own_copy(waiter.error) from waiter.error
        return waiter.outcomes

    def leave(self, waiter: Waiter) -> None:
        """Nobody asks any more about what only this waiter wanted."""
        self._watched.leave(waiter)

    def abandon(self, waiter: Waiter) -> None:
        """``leave``, at the next occasion: safe from a finalizer, which may run in any thread and at any moment."""
        if waiter.pending:  # otherwise its jobs, and so their results, would be kept until then
            self._abandoned.append(waiter)

    def learn(self, snapshot: JobSnapshot) -> None:
        """Takes in what another request has found out, so that waiters need not ask again."""
        self._listener.note_offer(snapshot.cursor)
        if self._watched.hear(snapshot, anyio.current_time()):
            self._interrupt()

    def outlook(self, job_id: str) -> PollOutlook:
        """When the next question about this job is due, and what went wrong with the last one."""
        return self._watched.outlook(job_id, self._weather.resting_until)

    async def aclose(self) -> None:
        """Fails every waiter with ConnectionClosedError, at once."""
        self._closed = True
        self._fail_everyone(ConnectionClosedError("the connection was closed while waiting; the jobs go on"))
        if self._asking is not None:
            self._asking.cancel()
        # Bounded, because in a forked child the leader of its parent leads for ever.
        with anyio.move_on_after(HASTE, shield=True):
            await self._led.wait()
            await self._listener.aclose()

    def _check_open(self) -> None:
        if self._closed:
            raise ConnectionClosedError("this connection is closed")

    def _clear_abandoned(self) -> None:
        while self._abandoned:
            self.leave(self._abandoned.popleft())

    def _begin_waiting(self, waiter: Waiter) -> None:
        waiter.is_waiting = True
        self._waiting[waiter] = None
        self._watched.resume(waiter)
        self._interrupt()

    def _hand_over(self) -> None:
        """
        Wakes the waiter that is least likely to drop out soon, which spares a chain of short reigns: the one with the
        latest deadline, the last to come among equals, since a crowd is mostly cancelled from the front.
        """
        if self._leader is not None or (self._heir in self._waiting and not self._heir.is_settled):
            return
        heir: Waiter | None = None
        for waiter in reversed(self._waiting):
            if not waiter.is_settled and (heir is None or waiter.deadline > heir.deadline):
                heir = waiter
                if heir.deadline == float("inf"):
                    break
        self._heir = heir
        if heir is not None:
            logger.debug("another waiter asks from now on, about %d jobs", len(self._watched))
            heir.wake.set()

    async def _lead(self, me: Waiter) -> None:
        self._leader, self._heir, self._led = me, None, anyio.Event()
        try:
            await self._listener.wake_up()
            while not me.is_settled:
                await self._guarded(self._just_listen if self._has_only_to_listen else self._ask, me)
        finally:
            self._leader = None
            self._led.set()

    async def _ask(self, me: Waiter) -> None:
        """Asks until that is over, or there is only the feed to be listened to; meanwhile it is listened to as well."""
        with anyio.CancelScope() as self._asking:
            if self._listener.can_listen:
                async with plain_task_group() as listening:
                    listening.start_soon(self._guarded, self._listener.listen, me)
                    await self._ask_until(lambda: me.is_settled or self._has_only_to_listen, me)
                    listening.cancel_scope.cancel()
            else:
                await self._ask_until(lambda: me.is_settled or self._listener.can_listen, me)
        self._asking = None

    @property
    def _has_only_to_listen(self) -> bool:
        return self._listener.is_listening and self._next_question() > anyio.current_time()

    async def _just_listen(self, me: Waiter) -> None:
        """With one scope around it, and no group: most steps of most waiters are nothing but this."""
        with anyio.CancelScope(deadline=min(self._next_question(), self._listener.dies_at)) as self._pause:
            await self._listener.listen_alone(me)
        if self._pause.cancelled_caught:
            await self._listener.lose_if_silent()
        self._pause = None

    def _next_question(self) -> float:
        return max(self._watched.agenda.next_due(), self._weather.resting_until)

    def _interrupt(self) -> None:
        """The leader looks up from whatever it waits for."""
        self._nudge.set()
        if self._pause is not None:
            self._pause.cancel()

    async def _guarded(self, work: Callable[..., Awaitable[None]], *args: object) -> None:
        """A bug is told to everyone now, or each next leader would meet it again, and leaves no task group around it."""
        try:
            await work(*args)
        except Exception as error:  # noqa: BLE001
            self._fail_everyone(error)

    # -- asking --

    async def _ask_until(self, is_over: Callable[[], bool], me: Waiter) -> None:
        while not is_over():
            delay = self._next_question() - anyio.current_time()
            if delay > 0:
                self._nudge = anyio.Event()
                with anyio.move_on_after(delay):
                    await self._nudge.wait()
            else:
                await self._sweep(me)

    async def _sweep(self, me: Waiter) -> None:
        """Asks about everything that is due, each request filled up with what is due next."""
        self._clear_abandoned()
        now, agenda, asked = anyio.current_time(), self._watched.agenda, list[TrackedJob]()
        self._weather.begin_sweep(now)
        # What would be due soon after had to wait for the pause after this sweep to be over.
        until = self._swept_until = now + EARLY * self._interval.least

        async def work() -> None:
            # Taken when its turn comes: a leader may have what it waited for after the first of a hundred requests.
            while not me.is_settled and (batch := agenda.take(until, self._questions.many.batch)):
                asked.extend(batch)
                await self._guarded(self._ask_about_all, [watch.job_id for watch in batch])

        try:
            if not agenda.is_more_due(until, self._questions.many.batch):
                await work()
            else:
                async with plain_task_group() as group:
                    for _ in range(AT_ONCE):
                        group.start_soon(work)
        finally:
            # What a leader that left early has not asked about is not kept waiting for its successor.
            if self._watched.put_back(asked) or agenda.next_due() < until:
                self._weather.break_off_sweep(anyio.current_time())

    async def _ask_about_all(self, ids: Sequence[str]) -> None:
        try:
            report = await self._questions.ask(ids, self._watched.known)
        except NoListError:
            return
        except SFJobsError as error:
            if len(ids) == 1 or not _is_about_something_in_it(error):
                self._take_failure(ids, error)
                return
            # What is wrong with one of them is no concern of the others.
            apart: Sequence[str] = ids
        else:
            apart = self._take_report(ids, report)
        for job_id in apart:
            await self._ask_about(job_id)

    async def _ask_about(self, job_id: str) -> None:
        try:
            report = await self._questions.single.ask([job_id], self._watched.known)
        except SFJobsError as error:
            self._take_failure([job_id], error)
        else:
            self._take_report([job_id], report)

    def _take_report(self, ids: Sequence[str], report: StatusReport) -> list[str]:
        now = anyio.current_time()
        self._weather.clear_up(now)
        self._listener.note_offer(report.cursor)
        return self._watched.take_report(ids, report, now)

    def _take_failure(self, ids: Sequence[str], error: SFJobsError) -> None:
        """Weather is waited out, however long it lasts; a permanent answer ends the waiting for those it is about."""
        now = anyio.current_time()
        if is_transient(error):
            self._weather.worsen(len(ids), error, now)
            self._watched.note_transient(ids, error, now, due=max(now, self._swept_until))
        elif len(ids) == 1 and _is_about_something_in_it(error):
            self._watched.note_permanent(ids[0], error, now)
        else:
            self._watched.fail(ids, error)

    def _fail_everyone(self, error: Exception) -> None:
        for waiter in self._waiting:
            waiter.fail(error)
        self._interrupt()


def _is_about_something_in_it(error: SFJobsError) -> bool:
    """Whether the platform would answer a question about other jobs."""
    return isinstance(error, ResponseError) and not isinstance(error, AuthenticationError) and not is_transient(error)


async def _no_stream(path: str, last_event_id: str | None) -> NoReturn:  # noqa: ARG001 - see feed.Opener
    raise TransportError("there is no change feed")


def _own_copy(error: Exception) -> Exception:
    """One instance raised in five hundred tasks would collect all their frames in its traceback."""
    try:
        return copy.copy(error)
    except Exception:  # noqa: BLE001 - somebody else's exception that cannot be copied is still better shared than lost
        return error
