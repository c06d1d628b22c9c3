"""
Submissions on the wire: one to a request or, where the platform offers it, up to a hundred (``Accept-Post`` with
``application/jobs+json``, protocol section 11). Knows what the platform has shown of itself, and nothing of windows and order:
``dispatch`` and ``connection`` bring the submissions.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import anyio

from .._http import tracing
from .._http.api import reported
from .._http.messages import Request, Response, compact_json, refusal
from .._http.transport import Transport
from .._journal import Intent, JournalSession, State, SubmissionOutcome, fate_after
from .._protocol import wire
from .._protocol.blackbird_header import with_header
from ..config import Settings
from ..errors import (
    JournalError,
    ProtocolError,
    RequestFailedError,
    ResponseError,
    SubmissionUnknownError,
    TransportError,
)
from ..models import JobSnapshot

logger = logging.getLogger("sfjobs")

LARGEST_BATCH = 100
"""Submissions to a request."""

LARGEST_BODY = 4 * 2**20
"""Bytes of one batch, unless it is a single submission that is larger."""

_BATCH = "application/jobs+json"
_NO_BATCHES = frozenset({404, 405, 415, 501})
_NOT_THIS_BATCH = frozenset({400, 413, 422})


@dataclass(slots=True, eq=False)
class SubmissionRequest:
    """
    One submission as it goes out, however often. ``batch_limit`` is how many may be in a batch with it, itself among them;
    ``tries`` is how often it was sent in one. ``in_flight``: the platform may have heard of the present try, ``maybe_delivered``: it
    may have taken an earlier one. ``is_recorded``: it stood in the journal as being sent.
    """

    target: str
    shots: int | None
    name: str | None
    key: str
    body: bytes
    batch_limit: int = LARGEST_BATCH
    tries: int = 0
    in_flight: bool = False
    maybe_delivered: bool = False
    is_recorded: bool = False


Outcome: TypeAlias = JobSnapshot | RequestFailedError | None
"""What became of an order. None: nothing yet, and it has to be submitted again."""


class Submitter:
    """
    Submits orders. Batches and keys are offers of the platform, and both are learnt from its answers to submissions: the first
    ones go singly. That batches come with keys is not taken for granted, so that nothing is sent twice on trust.
    """

    def __init__(self, settings: Settings, transport: Transport, record: JournalSession) -> None:
        self._settings = settings
        self._transport = transport
        self._record = record
        self._legacy = settings.api_version == "0.2.0"
        self._honours_keys = False
        self._offers_batches = False
        self._has_refused_batches = False
        self._largest_body = LARGEST_BODY

    @property
    def honours_keys(self) -> bool:
        """Whether the same order, sent twice, surely makes one job."""
        return self._honours_keys

    @property
    def largest_batch(self) -> int:
        """How many orders may go together at present: 1 where they go singly."""
        return LARGEST_BATCH if self._offers_batches else 1

    @property
    def largest_body(self) -> int:
        """Bytes of the bodies of orders that go together."""
        return self._largest_body

    def order(self, target: str, circuit: str, shots: int | None, name: str | None) -> SubmissionRequest:
        """Raises ValueError for what cannot be sent."""
        if self._legacy:
            fields = wire.legacy_submission(circuit=with_header(circuit, target=target, shots=shots, name=name))
        else:
            fields = wire.submission(name=name, target=target, circuit=with_header(circuit, target=target, shots=shots))
        return SubmissionRequest(target, shots, name, str(uuid.uuid4()), compact_json(fields))

    async def submit(
        self, order: SubmissionRequest, *, shield: anyio.CancelScope | None = None, idempotent: bool = False
    ) -> JobSnapshot:
        """
        Submits one order. It is sent again only where that cannot make a second job: when it surely did not arrive, or when
        the platform is known, here or by whoever says that it is ``idempotent``, to honour idempotency keys. Otherwise raises
        SubmissionUnknownError. Raises JournalError, and sends nothing, where it cannot be written down first.
        """
        try:
            await self._open([order])
            snapshot = await self._submit(order, shield, idempotent=idempotent or self._honours_keys)
        except BaseException as error:
            self._close([order], error)
            raise
        self._record.close([_fate(order, snapshot)])
        return snapshot

    async def _submit(
        self, order: SubmissionRequest, shield: anyio.CancelScope | None, *, idempotent: bool
    ) -> JobSnapshot:
        request = Request(
            method="POST",
            path="/jobs",
            headers={"Content-Type": "application/json", "Idempotency-Key": order.key},
            content=order.body,
            idempotent=idempotent,
            expect=frozenset({201}) if self._legacy else None,
            shield=shield,
            on_departure=partial(_note_departure, [order], idempotent),
        )
        with tracing.span("submit", requests=True, target=order.target, shots=order.shots) as span:
            try:
                answer = await self._transport.send(request)
                self._learn_of_keys(answer.headers.get("idempotency-key") == order.key)
                self._learn(answer)
                snapshot = reported(answer.parse(partial(wire.job_snapshot, cursor=answer.cursor())))
            except (TransportError, ProtocolError) as error:
                if self._tells_enough(error):
                    raise
                raise self._unknown(order, error) from error
            span.note(job_id=snapshot.id, status=snapshot.status.value)
        _log(snapshot, order)
        return snapshot

    async def submit_all(
        self, orders: Sequence[SubmissionRequest], *, shield: anyio.CancelScope | None = None
    ) -> Sequence[Outcome]:
        """
        Submits a batch: what became of each, in order. What is wrong with one is no concern of the others. None for all of
        them when the platform does not take this batch or any. Raises what ``submit`` would for each of them.
        """
        try:
            await self._open(orders)
            outcomes = await self._submit_all(orders, shield)
        except BaseException as error:
            self._close(orders, error)
            raise
        self._record.close(map(_fate, orders, outcomes))
        return outcomes

    async def _submit_all(
        self, orders: Sequence[SubmissionRequest], shield: anyio.CancelScope | None
    ) -> Sequence[Outcome]:
        request = Request(
            method="POST",
            path="/jobs",
            headers={"Content-Type": _BATCH},
            content=b"[%s]" % b",".join(map(_item, orders)),
            idempotent=self._honours_keys,
            shield=shield,
            on_departure=partial(_note_departure, orders, self._honours_keys),
        )
        targets = {order.target for order in orders}
        target = targets.pop() if len(targets) == 1 else None
        with tracing.span("submit", requests=True, target=target, jobs=len(orders)) as span:
            try:
                outcomes = self._outcomes(orders, await self._transport.send(request))
            except (TransportError, ProtocolError) as error:
                if self._tells_enough(error):
                    raise
                return [self._unknown(order, error) for order in orders]
            except ResponseError as error:
                return self._without_batch(orders, error)
            span.note(taken=sum(isinstance(outcome, JobSnapshot) for outcome in outcomes))
        return outcomes

    def unknown(self, order: SubmissionRequest, reason: str, *, attempts: int = 1) -> SubmissionUnknownError:
        """The error for an order that was sent and has no answer."""
        return SubmissionUnknownError(
            f"the platform may or may not have the job: {reason}. Look for it before submitting it again: {self._way_out()}",
            method="POST",
            url=f"{self._settings.url}/jobs",
            attempts=attempts,
            idempotency_key=order.key,
            name=order.name,
        )

    def _way_out(self) -> str:
        return "`sfjobs list` shows jobs" if self._record.journal is None else "`sfjobs recover` does"

    def _outcomes(self, orders: Sequence[SubmissionRequest], answer: Response) -> Sequence[Outcome]:
        if answer.status_code != 207:
            self._stop_batches(f"it was answered with status {answer.status_code}")
            if self._honours_keys:
                return [None] * len(orders)
            return [self._not_told(order, answer) for order in orders]
        self._learn(answer)
        said = answer.parse(partial(wire.batch, size=len(orders), cursor=answer.cursor()))
        outcomes: list[Outcome] = [self._outcome(*pair, answer) for pair in zip(orders, said, strict=False)]
        return outcomes + [self._not_told(order, answer) for order in orders[len(said) :]]

    def _outcome(
        self, order: SubmissionRequest, said: JobSnapshot | wire.Refused | wire.MalformedResponse, answer: Response
    ) -> JobSnapshot | RequestFailedError:
        if isinstance(said, JobSnapshot):
            _log(said, order)
            return reported(said)
        method, url = answer.request.method, answer.url
        if isinstance(said, wire.Refused):
            return refusal(method, url, said.status_code, said.words)
        message = f"{method} {url} was answered for one of a batch, but not in the platform's language: {said}"
        error = ProtocolError(message, method=method, url=url)
        return error if self._tells_enough(error) else self._unknown(order, error)

    def _without_batch(self, orders: Sequence[SubmissionRequest], error: ResponseError) -> Sequence[Outcome]:
        """A platform that takes no batches gets single submissions from now on, and one that does not take this one, halves."""
        if error.status_code in _NO_BATCHES:
            self._stop_batches(str(error))
        elif error.status_code in _NOT_THIS_BATCH:
            for order in orders:
                order.batch_limit = max(len(orders) // 2, 1)
            if error.status_code == 413:
                self._largest_body = max(sum(len(order.body) for order in orders) // 2, 1)
            logger.info("a batch of %d is sent in parts: %s", len(orders), error)
        else:
            raise error
        for order in orders:
            order.in_flight = False
        return [None] * len(orders)

    def _learn(self, answer: Response) -> None:
        """Whether the platform offers batches, from its latest answer."""
        offers = _offers_batches(answer) and not self._has_refused_batches and not self._legacy
        if self._offers_batches and not offers:
            logger.info("the platform no longer offers batches: submitting one at a time")
        self._offers_batches = offers

    def _learn_of_keys(self, is_echoed: bool) -> None:
        if is_echoed and not self._honours_keys:
            self._honours_keys = True
            self._record.note_keys()

    def _stop_batches(self, reason: str) -> None:
        if not self._has_refused_batches:
            logger.info("the platform takes no batch: submitting one at a time (%s)", reason)
        self._has_refused_batches, self._offers_batches = True, False

    def _unknown(self, order: SubmissionRequest, error: TransportError | ProtocolError) -> SubmissionUnknownError:
        unknown = self.unknown(order, str(error), attempts=error.attempts)
        unknown.__cause__ = error.with_traceback(None)
        return unknown

    def _tells_enough(self, error: TransportError | ProtocolError) -> bool:
        """
        Whether it is known that nothing was taken; or what was: with a key, an answer that is none would come again, and is
        the platform's trouble, not the submission's.
        """
        return not error.sent or (self._honours_keys and isinstance(error, ProtocolError))

    async def _open(self, orders: Sequence[SubmissionRequest]) -> None:
        await self._record.open([self._intent(order) for order in orders])
        for order in orders:
            order.is_recorded = True

    def _close(self, orders: Sequence[SubmissionRequest], error: BaseException) -> None:
        if isinstance(error, JournalError):
            return  # nothing was written, and nothing can be
        fates = [_fate_after(order, error) for order in orders]
        for order, fate in zip(orders, fates, strict=True):
            order.in_flight = fate.state == State.OPEN
        self._record.close(fates)

    def _intent(self, order: SubmissionRequest) -> Intent:
        return Intent(
            key=order.key,
            url=self._record.url,
            account=self._record.account,
            target=order.target,
            shots=order.shots,
            name=order.name,
            body=order.body,
        )

    def _not_told(self, order: SubmissionRequest, answer: Response) -> SubmissionUnknownError:
        return self.unknown(order, f"{answer.url} answered with status {answer.status_code} and not a word about it")


def _item(order: SubmissionRequest) -> bytes:
    # The body is encoded once, for whichever way it goes.
    return b'%s,"idempotency_key":"%s"}' % (order.body[:-1], order.key.encode())


def _offers_batches(answer: Response) -> bool:
    offered = answer.headers.get("accept-post", "").split(",")
    return any(media_type.partition(";")[0].strip().lower() == _BATCH for media_type in offered)


def _note_departure(orders: Iterable[SubmissionRequest], idempotent: bool, is_under_way: bool) -> None:
    for order in orders:
        # What is sent again without a key was surely not taken; with one it may have been, and nobody asks which it was.
        order.maybe_delivered = order.maybe_delivered or (idempotent and order.in_flight)
        order.in_flight = is_under_way


def _fate(order: SubmissionRequest, outcome: Outcome) -> SubmissionOutcome:
    if isinstance(outcome, JobSnapshot):
        return SubmissionOutcome(key=order.key, state=State.SUBMITTED, job_id=outcome.id)
    if outcome is None:  # to be submitted again, with the same key
        return SubmissionOutcome(
            key=order.key, state=State.OPEN if order.in_flight or order.maybe_delivered else State.UNSENT
        )
    return _fate_after(order, outcome)


def _fate_after(order: SubmissionRequest, error: BaseException) -> SubmissionOutcome:
    return fate_after(error, order.key, was_out=order.in_flight, in_doubt=order.maybe_delivered)


def _log(snapshot: JobSnapshot, order: SubmissionRequest) -> None:
    if logger.isEnabledFor(logging.INFO):
        logger.info("job %s: submitted to %s, %s", snapshot.id, order.target, snapshot.status.value)
