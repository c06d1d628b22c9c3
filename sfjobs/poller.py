"""
Who asks the platform about which jobs, and when.

Nothing runs in the background. Every waiter brings a ``Ticket`` for the jobs it waits for, and one of them, the leader, asks
about all jobs of all tickets inside its own task. When it has what it waited for, or is cancelled, another takes over:

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
from typing import Protocol

import anyio
import anyio.lowlevel

from .errors import ConnectionClosedError, NotFoundError, SFJobsError
from .feed import HOLD, Feed
from .lately import LatelyTold
from .models import Cursor, JobSnapshot
from .retry import is_weather
from .tasks import plain_task_group
from .tickets import Cadence, Inquirer, NoListError, Outcome, Outlook, Report, Subject, Ticket
from .watchlist import WatchList
from .weather import Weather
from .wire import Known

logger = logging.getLogger("sfjobs")

AT_ONCE = 4
"""Requests of one sweep that are under way together."""


class Questions(Protocol):
    """The ways to ask that a platform has shown: about ``many``, which may turn out to be impossible, and about one."""

    @property
    def many(self) -> Inquirer: ...

    @property
    def single(self) -> Inquirer: ...

    async def ask(self, ids: Sequence[str], known: Known) -> Report: ...


class Poller:
    """The shared poller of one connection."""

    def __init__(
        self,
        questions: Questions,
        feed: Feed | None = None,
        cadence: Cadence | None = None,
        *,
        draw: Callable[[], float] = random.random,
    ) -> None:
        cadence = cadence or Cadence()
        self._questions = questions
        self._feed = feed
        self._lately = LatelyTold()
        self._watched = WatchList(cadence, draw)
        self._weather = Weather(cadence)
        self._waiting: dict[Ticket, None] = {}  # in the order of their coming
        self._leader: Ticket | None = None
        self._heir: Ticket | None = None
        self._leading: anyio.CancelScope | None = None
        self._led = anyio.Event()  # set while nobody leads
        self._led.set()
        self._nudge = anyio.Event()
        self._offered = anyio.Event()
        self._abandoned: deque[Ticket] = deque()
        self._closed = False

    @property
    def watched(self) -> int:
        """How many jobs are being asked about."""
        self._clear_abandoned()
        return len(self._watched)

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits, leads or is watched."""
        return not self.watched and not self._waiting and self._leader is None

    def join(self, subjects: Iterable[Subject], *, wants_changes: bool = False) -> Ticket:
        """A ticket for ``subjects``. Whoever joins must ``leave``; ``abandon`` will do from a finalizer."""
        self._check_open()
        self._clear_abandoned()
        ticket, now = Ticket(subjects, wants_changes=wants_changes), anyio.current_time()
        for same in ticket.subjects.values():
            for subject in same:
                self._note_offer(subject.cursor)
        for job_id, same in ticket.subjects.items():
            self._catch_up(job_id, same, now)
        is_opening = self._feed is not None and not self._feed.is_heard and self._feed.is_hopeful(now)
        self._watched.join(ticket, now, hold=HOLD if is_opening else 0.0)
        return ticket

    async def settle(self, ticket: Ticket, need: int | None = None) -> Mapping[str, Outcome]:
        """
        Waits until ``need`` of the ticket's jobs (all by default) have an outcome: the final snapshot, or the error that
        ends the asking about that one job; or until there is a change, for one that wants changes. Raises what ends the
        asking altogether, an instance of its own for each waiter.
        """
        ticket.need = len(ticket.subjects) if need is None else min(need, len(ticket.subjects))
        ticket.deadline = anyio.current_effective_deadline()
        if not ticket.is_settled:
            self._begin_waiting(ticket)
        try:
            await anyio.lowlevel.checkpoint()
            while not ticket.is_settled:
                self._check_open()
                if self._leader is None:
                    await self._lead(ticket)
                else:
                    if ticket.wake.is_set():
                        ticket.wake = anyio.Event()
                    await ticket.wake.wait()
        finally:
            ticket.is_waiting = False
            self._waiting.pop(ticket, None)
            self._hand_over()
        if ticket.error is not None:
            raise _own_copy(ticket.error) from ticket.error
        return ticket.outcomes

    def leave(self, ticket: Ticket) -> None:
        """Nobody asks any more about what only this ticket wanted."""
        self._watched.leave(ticket)

    def abandon(self, ticket: Ticket) -> None:
        """``leave``, at the next occasion: safe from a finalizer, which may run in any thread and at any moment."""
        self._abandoned.append(ticket)

    def learn(self, snapshot: JobSnapshot) -> None:
        """Takes in what another request has found out, so that waiters need not ask again."""
        self._note_offer(snapshot.cursor)
        if self._watched.hear(snapshot, anyio.current_time()):
            self._nudge.set()

    def outlook(self, job_id: str) -> Outlook:
        """When the next question about this job is due, and what went wrong with the last one."""
        return self._watched.outlook(job_id, self._weather.resting_until)

    async def aclose(self) -> None:
        """Fails every waiter with ConnectionClosedError, at once."""
        self._closed = True
        self._fail_everyone(ConnectionClosedError("the connection was closed while waiting; the jobs go on"))
        if self._leading is not None:
            self._leading.cancel()
        with anyio.CancelScope(shield=True):
            await self._led.wait()
            if self._feed is not None:
                await self._feed.aclose()

    def _check_open(self) -> None:
        if self._closed:
            raise ConnectionClosedError("this connection is closed")

    def _clear_abandoned(self) -> None:
        while self._abandoned:
            self.leave(self._abandoned.popleft())

    def _note_offer(self, cursor: Cursor | None) -> None:
        if cursor is not None and self._feed is not None and self._feed.note_offer(cursor):
            self._offered.set()
            self._nudge.set()

    def _catch_up(self, job_id: str, subjects: Sequence[Subject], now: float) -> None:
        """The feed may have told of the job since its handles were last told of it."""
        place = None if self._feed is None else self._feed.place
        if place is None:
            return
        for subject in subjects:
            cursor = subject.cursor
            if cursor is None or cursor.covers(place) or not self._lately.reaches(cursor):
                continue
            if (told := self._lately.of(job_id)) is not None:
                subject.take(told, now)
            subject.cursor = place

    def _begin_waiting(self, ticket: Ticket) -> None:
        ticket.is_waiting = True
        self._waiting[ticket] = None
        self._watched.resume(ticket)
        self._nudge.set()

    def _hand_over(self) -> None:
        """
        Wakes the waiter that is least likely to drop out soon, which spares a chain of short reigns: the one with the
        latest deadline, the last to come among equals, since a crowd is mostly cancelled from the front.
        """
        if self._leader is not None or (self._heir in self._waiting and not self._heir.is_settled):
            return
        heir: Ticket | None = None
        for ticket in reversed(self._waiting):
            if not ticket.is_settled and (heir is None or ticket.deadline > heir.deadline):
                heir = ticket
                if heir.deadline == float("inf"):
                    break
        self._heir = heir
        if heir is not None:
            logger.debug("another waiter asks from now on, about %d jobs", len(self._watched))
            heir.wake.set()

    async def _lead(self, me: Ticket) -> None:
        self._leader, self._heir, self._led = me, None, anyio.Event()
        try:
            with anyio.CancelScope() as self._leading:
                await self._guarded(self._ask_until, me, lambda: me.is_settled or self._can_listen)
                if not me.is_settled:
                    async with plain_task_group() as listening:
                        listening.start_soon(self._guarded, self._listen, me)
                        await self._guarded(self._ask_until, me, lambda: me.is_settled)
                        listening.cancel_scope.cancel()
        finally:
            self._leader = None
            self._leading = None
            self._led.set()

    @property
    def _can_listen(self) -> bool:
        return self._feed is not None and (self._feed.is_heard or self._feed.offer is not None)

    async def _guarded(self, work: Callable[..., Awaitable[None]], *args: object) -> None:
        """A bug is told to everyone now, or each next leader would meet it again, and leaves no task group around it."""
        try:
            await work(*args)
        except Exception as error:  # noqa: BLE001
            self._fail_everyone(error)

    # -- asking --

    async def _ask_until(self, me: Ticket, is_over: Callable[[], bool]) -> None:
        while not is_over():
            delay = max(self._watched.agenda.next_due(), self._weather.resting_until) - anyio.current_time()
            if delay > 0:
                self._nudge = anyio.Event()
                with anyio.move_on_after(delay):
                    await self._nudge.wait()
            else:
                await self._sweep(me)

    async def _sweep(self, me: Ticket) -> None:
        """Asks about everything that is due, the last request filled up with what is due next."""
        self._clear_abandoned()
        now, batch = anyio.current_time(), self._questions.many.batch
        self._weather.begin_sweep(now)
        asked = self._watched.agenda.take(now, batch)
        left = deque([watch.job_id for watch in asked[start : start + batch]] for start in range(0, len(asked), batch))

        async def work() -> None:
            while left and not me.is_settled:
                await self._guarded(self._ask, left.popleft())

        try:
            if len(left) == 1:
                await work()
            else:
                async with plain_task_group() as group:
                    for _ in range(min(AT_ONCE, len(left))):
                        group.start_soon(work)
        finally:
            # What a leader that left early has not asked about is not kept waiting for its successor.
            if self._watched.put_back(asked):
                self._weather.break_off_sweep(anyio.current_time())

    async def _ask(self, ids: Sequence[str]) -> None:
        try:
            report = await self._questions.ask(ids, self._watched.known)
        except NoListError:
            return
        except SFJobsError as error:
            self._take_failure(ids, error)
        else:
            for job_id in self._take_report(ids, report):
                await self._ask_about(job_id)

    async def _ask_about(self, job_id: str) -> None:
        try:
            report = await self._questions.single.ask([job_id], self._watched.known)
        except SFJobsError as error:
            self._take_failure([job_id], error)
        else:
            self._take_report([job_id], report)

    def _take_report(self, ids: Sequence[str], report: Report) -> list[str]:
        now = anyio.current_time()
        self._weather.clear_up(now)
        self._note_offer(report.cursor)
        return self._watched.take_report(ids, report, now)

    def _take_failure(self, ids: Sequence[str], error: SFJobsError) -> None:
        """Weather is waited out, for ``patience`` seconds a job; a permanent answer ends the waiting for those it is about."""
        now = anyio.current_time()
        if isinstance(error, NotFoundError) and len(ids) == 1:
            self._watched.take_not_found(ids[0], error, now)
        elif is_weather(error):
            self._weather.worsen(len(ids), error, now)
            self._watched.fail(self._watched.take_weather(ids, error, now), error)
        else:
            self._watched.fail(ids, error)

    # -- listening --

    async def _listen(self, me: Ticket) -> None:
        """Keeps the change feed open while ``me`` leads. Ends between two reads when ``me`` has what it waited for."""
        feed = self._feed
        assert feed is not None, "it was offered"
        while not me.is_settled:
            try:
                if not feed.is_heard:
                    await self._begin_to_listen(feed)
                report = await feed.ask((), self._watched.known)
            except SFJobsError as error:
                await feed.lose(error)
                self._watched.stop_listening(anyio.current_time(), is_expired=feed.offer is None)
                self._nudge.set()
            else:
                self._take_news(report)
        self._nudge.set()

    async def _begin_to_listen(self, feed: Feed) -> None:
        while feed.offer is None:
            self._offered = anyio.Event()
            await self._offered.wait()
        await feed.rest()
        start = await feed.begin(self._watched.start_of_feed(feed.offer))
        self._lately.begin(start)
        self._watched.listen(start, anyio.current_time())
        self._nudge.set()

    def _take_news(self, report: Report) -> None:
        now = anyio.current_time()
        self._weather.clear_up(now)
        for snapshot in report.snapshots.values():
            self._lately.note(snapshot)
            self._watched.hear(snapshot, now)
        if report.cursor is not None:
            self._watched.heard_up_to(report.cursor)

    def _fail_everyone(self, error: Exception) -> None:
        for ticket in self._waiting:
            ticket.fail(error)
        self._nudge.set()


def _own_copy(error: Exception) -> Exception:
    """One instance raised in five hundred tasks would collect all their frames in its traceback."""
    try:
        return copy.copy(error)
    except Exception:  # noqa: BLE001 - somebody else's exception that cannot be copied is still better shared than lost
        return error
