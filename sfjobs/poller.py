"""
Who asks the platform about which jobs, and when.

Nothing runs in the background. Every waiter brings a ``Ticket`` for the jobs it waits for, and one of them, the leader, asks
about all jobs of all tickets inside its own task. When it has what it waited for, or is cancelled, another takes over:

    waiter A   settle ──lead──ask──ask──done
    waiter B   settle ──────wait────────lead──ask──cancelled
    waiter C   settle ────────────wait─────────────lead──ask──done

So a cancelled waiter stops at once and hurts nobody, an abandoned connection leaves nothing running, and no error arrives
wrapped in a group. State needs no lock: it changes only between awaits of one event loop.

How a question reaches the platform is the business of the ``Inquirer`` that is handed in.
"""

from __future__ import annotations

import copy
import logging
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

import anyio
import anyio.lowlevel

from .agenda import Agenda
from .errors import (
    ConnectionClosedError,
    NotFoundError,
    ResponseError,
    SFJobsError,
)
from .models import JobSnapshot
from .retry import LONGEST_HINT, is_weather
from .tickets import Cadence, Inquirer, Outcome, Outlook, Subject, Ticket, Watch, in_words

logger = logging.getLogger("sfjobs")

GATHER = 0.02
"""Seconds until a job that has just joined is first asked about, so that tasks started together share a request."""

MISSES = 3
"""A job that this many answers leave out is asked about by itself: a list may lag briefly behind a submission."""

AT_ONCE = 4
"""Requests of one sweep that are under way together."""

WORRY = 10.0
"""Seconds without an answer after which the log warns, once until there is one."""


class Poller:
    """The shared poller of one connection."""

    def __init__(
        self, inquirer: Inquirer, cadence: Cadence | None = None, *, draw: Callable[[], float] = random.random
    ) -> None:
        self._inquirer = inquirer
        self._cadence = cadence or Cadence()
        self._draw = draw
        self._watches: dict[str, Watch] = {}
        self._agenda = Agenda()
        self._waiting: dict[Ticket, None] = {}  # the unsettled ones, in the order of their coming
        self._leader: Ticket | None = None
        self._heir: Ticket | None = None
        self._leading: anyio.CancelScope | None = None
        self._nudge = anyio.Event()
        self._abandoned: deque[Ticket] = deque()
        self._resting_until = float("-inf")
        self._backoff = 0.0
        self._has_backed_off = False
        self._failing_since: float | None = None
        self._has_warned = False
        self._closed = False

    @property
    def watched(self) -> int:
        """How many jobs are being asked about."""
        self._clear_abandoned()
        return len(self._watches)

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits, leads or is watched."""
        return not self.watched and not self._waiting and self._leader is None

    def join(self, subjects: Iterable[Subject]) -> Ticket:
        """A ticket for ``subjects``. Whoever joins must ``leave``; ``abandon`` will do from a finalizer."""
        self._check_open()
        self._clear_abandoned()
        ticket, now = Ticket(subjects), anyio.current_time()
        for job_id, same in ticket.subjects.items():
            final = next((subject.snapshot for subject in same if subject.snapshot.status.is_final), None)
            if final is not None:
                ticket.settle(job_id, final)
                continue
            watch = self._watches.get(job_id)
            if watch is None:
                watch = self._watches[job_id] = self._first_watch(job_id, same, now)
            watch.tickets.append(ticket)
            ticket.passed_over.append(watch)
        return ticket

    async def settle(self, ticket: Ticket, need: int | None = None) -> Mapping[str, Outcome]:
        """
        Waits until ``need`` of the ticket's jobs (all by default) have an outcome: the final snapshot, or the error that
        ends the asking about that one job. Raises what ends the asking altogether, an instance of its own for each waiter.
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
        for job_id in ticket.pending:
            watch = self._watches.get(job_id)
            if watch is not None and ticket in watch.tickets:
                watch.tickets.remove(ticket)
                if not watch.tickets:
                    del self._watches[job_id]
                    self._agenda.drop(watch)
        ticket.pending.clear()

    def abandon(self, ticket: Ticket) -> None:
        """``leave``, at the next occasion: safe from a finalizer, which may run in any thread and at any moment."""
        self._abandoned.append(ticket)

    def learn(self, snapshot: JobSnapshot) -> None:
        """Takes in what another request has found out, so that waiters need not ask again."""
        watch = self._watches.get(snapshot.id)
        if watch is not None:
            self._deliver(watch, snapshot, anyio.current_time())
            self._nudge.set()

    def outlook(self, job_id: str) -> Outlook:
        """When the next question about this job is due, and what went wrong with the last one."""
        watch = self._watches.get(job_id)
        if watch is None:
            return Outlook()
        if not watch.is_wanted:
            return Outlook(trouble=watch.trouble)
        is_under_way = watch.entry is None
        due = float("-inf") if is_under_way else max(watch.due, self._resting_until)
        return Outlook(due=due, trouble=watch.trouble)

    def close(self) -> None:
        """Fails every waiter with ConnectionClosedError, at once."""
        self._closed = True
        self._fail_everyone(ConnectionClosedError("the connection was closed while waiting; the jobs go on"))
        if self._leading is not None:
            self._leading.cancel()

    def _check_open(self) -> None:
        if self._closed:
            raise ConnectionClosedError("this connection is closed")

    def _clear_abandoned(self) -> None:
        while self._abandoned:
            self.leave(self._abandoned.popleft())

    def _first_watch(self, job_id: str, subjects: Sequence[Subject], now: float) -> Watch:
        since = min(now if subject.first_seen is None else subject.first_seen for subject in subjects)
        asked_at = max((subject.asked_at for subject in subjects if subject.asked_at is not None), default=None)
        due = now + GATHER
        if asked_at is not None:
            due = max(due, asked_at + self._cadence.interval(asked_at - since, self._draw))
        return Watch(job_id, since, due)

    def _begin_waiting(self, ticket: Ticket) -> None:
        ticket.is_waiting = True
        self._waiting[ticket] = None
        for watch in ticket.passed_over:
            if self._watches.get(watch.job_id) is watch:
                self._agenda.resume(watch)
        ticket.passed_over.clear()
        self._nudge.set()

    def _hand_over(self) -> None:
        """
        Wakes the waiter that is least likely to drop out soon, which spares a chain of short reigns: the one with the
        latest deadline, the last to come among equals, since a crowd is mostly cancelled from the front.
        """
        if self._leader is None and self._heir not in self._waiting and self._waiting:
            self._heir = max(reversed(self._waiting), key=lambda ticket: ticket.deadline)
            logger.debug("another waiter asks from now on, about %d jobs", len(self._watches))
            self._heir.wake.set()

    async def _lead(self, me: Ticket) -> None:
        self._leader, self._heir = me, None
        try:
            with anyio.CancelScope() as self._leading:
                while not me.is_settled:
                    await self._rest(me)
                    if not me.is_settled:
                        await self._sweep(me)
        except Exception as error:  # noqa: BLE001 - a bug: everyone hears of it now, or each next leader would meet it again
            self._fail_everyone(error)
        finally:
            self._leader = None
            self._leading = None

    async def _rest(self, me: Ticket) -> None:
        """Sleeps until a job is due and the pause after the last sweep, or the platform's ``Retry-After``, is over."""
        while not me.is_settled:
            delay = max(self._agenda.next_due(), self._resting_until) - anyio.current_time()
            if delay <= 0:
                return
            self._nudge = anyio.Event()
            with anyio.move_on_after(delay):
                await self._nudge.wait()

    async def _sweep(self, me: Ticket) -> None:
        """Asks about everything that is due, the last request filled up with what is due next."""
        self._clear_abandoned()
        now, batch = anyio.current_time(), self._inquirer.batch
        self._resting_until = max(self._resting_until, now + self._cadence.least)
        self._has_backed_off = False
        asked = self._agenda.take(now, batch)
        left = deque([watch.job_id for watch in asked[start : start + batch]] for start in range(0, len(asked), batch))

        async def work() -> None:
            while left and not me.is_settled:
                await self._ask(left.popleft())

        try:
            if len(left) == 1:
                await work()
            else:
                async with anyio.create_task_group() as group:
                    for _ in range(min(AT_ONCE, len(left))):
                        group.start_soon(work)
        finally:
            self._put_back(asked)

    def _put_back(self, asked: Sequence[Watch]) -> None:
        """What a leader that left early has not asked about is due as before, and is not kept waiting for its successor."""
        unanswered = [watch for watch in asked if watch.entry is None and self._watches.get(watch.job_id) is watch]
        for watch in unanswered:
            self._agenda.put(watch, watch.due)
        if unanswered and self._backoff == 0.0:
            self._resting_until = min(self._resting_until, anyio.current_time())

    async def _ask(self, ids: Sequence[str]) -> None:
        try:
            snapshots = await self._inquirer.ask(ids)
        except SFJobsError as error:
            self._take_failure(ids, error)
        except Exception as error:  # noqa: BLE001 - a bug must not leave a task group around it
            self._fail_everyone(error)
        else:
            now = anyio.current_time()
            self._clear_up(now)
            missing = [job_id for job_id in ids if not self._take_answer(job_id, snapshots.get(job_id), now)]
            for job_id in missing:
                await self._ask_about(job_id)

    def _take_answer(self, job_id: str, snapshot: JobSnapshot | None, now: float) -> bool:
        """False when the job has been left out so often that it has to be asked about by itself."""
        watch = self._watches.get(job_id)
        if watch is None:
            return True
        watch.failing_since = None
        self._postpone(watch, now)
        if snapshot is None:
            watch.misses += 1
            watch.trouble = f"the platform's answer left it out ({watch.misses} times in a row)"
            return watch.misses < MISSES
        watch.misses = 0
        self._deliver(watch, snapshot, now)
        return True

    async def _ask_about(self, job_id: str) -> None:
        try:
            snapshot = await self._inquirer.ask_one(job_id)
        except SFJobsError as error:
            self._take_failure([job_id], error)
        except Exception as error:  # noqa: BLE001 - as in _ask
            self._fail_everyone(error)
        else:
            self._take_answer(job_id, snapshot, anyio.current_time())

    def _deliver(self, watch: Watch, snapshot: JobSnapshot, now: float) -> None:
        watch.trouble = None
        for ticket in watch.tickets:
            for subject in ticket.subjects[watch.job_id]:
                subject.take(snapshot, now)
        if snapshot.status.is_final:
            self._end(watch, snapshot)

    def _end(self, watch: Watch, outcome: Outcome) -> None:
        del self._watches[watch.job_id]
        self._agenda.drop(watch)
        for ticket in watch.tickets:
            ticket.settle(watch.job_id, outcome)
            if ticket.is_settled:
                self._waiting.pop(ticket, None)

    def _postpone(self, watch: Watch, now: float) -> None:
        self._agenda.put(watch, now + self._cadence.interval(now - watch.since, self._draw))

    def _take_failure(self, ids: Sequence[str], error: SFJobsError) -> None:
        """Weather is waited out, for ``patience`` seconds a job; a permanent answer ends the waiting for those it is about."""
        if isinstance(error, NotFoundError) and len(ids) == 1:
            self._take_not_found(ids[0], error)
            return
        now = anyio.current_time()
        if not is_weather(error):
            self._fail(ids, error)
            return
        hint = error.retry_after if isinstance(error, ResponseError) else None
        if not self._has_backed_off:  # once a sweep, however many of its requests fail
            self._has_backed_off = True
            self._backoff = min(max(2 * self._backoff, self._cadence.least), self._cadence.most)
        pause = self._backoff if hint is None else min(hint, LONGEST_HINT)
        self._resting_until = max(self._resting_until, now + pause)
        impatient = []
        for job_id in ids:
            watch = self._watches.get(job_id)
            if watch is None:
                continue
            self._agenda.put(watch, now)
            watch.trouble = in_words(error)
            watch.failing_since = now if watch.failing_since is None else watch.failing_since
            if now - watch.failing_since >= self._cadence.patience:
                impatient.append(job_id)
        self._complain(len(ids), now, error)
        self._fail(impatient, error)

    def _complain(self, jobs: int, now: float, error: SFJobsError) -> None:
        since = self._failing_since = now if self._failing_since is None else self._failing_since
        if now - since >= WORRY and not self._has_warned:
            self._has_warned = True
            logger.warning("the platform has not said for %.0f s how %d jobs stand: %s", now - since, jobs, error)
        else:
            logger.info("asking about %d jobs failed, trying again: %s", jobs, error)

    def _clear_up(self, now: float) -> None:
        """The platform has answered."""
        if self._failing_since is not None:
            logger.info("the platform answers again, after %.0f s", now - self._failing_since)
        self._backoff, self._failing_since, self._has_warned = 0.0, None, False

    def _take_not_found(self, job_id: str, error: NotFoundError) -> None:
        watch = self._watches.get(job_id)
        if watch is None:
            return
        watch.misses += 1
        watch.trouble = in_words(error)
        if watch.misses >= MISSES:
            self._end(watch, error)
        else:
            self._postpone(watch, anyio.current_time())

    def _fail(self, ids: Sequence[str], error: SFJobsError) -> None:
        for job_id in ids:
            watch = self._watches.get(job_id)
            if watch is None:
                continue
            watch.trouble = in_words(error)
            for ticket in watch.tickets:
                ticket.fail(error)
                self._waiting.pop(ticket, None)

    def _fail_everyone(self, error: Exception) -> None:
        for ticket in self._waiting:
            ticket.fail(error)
        self._waiting.clear()


def _own_copy(error: Exception) -> Exception:
    """One instance raised in five hundred tasks would collect all their frames in its traceback."""
    try:
        return copy.copy(error)
    except Exception:  # noqa: BLE001 - somebody else's exception that cannot be copied is still better shared than lost
        return error
