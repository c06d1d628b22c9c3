"""
Sends submissions: one in a request or, where the platform offers it, up to a hundred (protocol, section 11). Writes each to the
journal before it is sent, and its outcome afterwards. ``sender`` decides which go together, ``pipeline`` when.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, TypeVar

import anyio

from .._http import tracing
from .._http.masking import masked_fields
from .._http.messages import Request, Response, compact_json, response_error
from .._http.transport import Transport
from .._journal import Intent, JournalSession, State, SubmissionOutcome
from .._protocol import wire
from .._protocol.blackbird_header import with_header
from ..config import Settings
from ..errors import (
    ConfigurationError,
    JournalError,
    ProtocolError,
    RequestFailedError,
    ResponseError,
    SubmissionUnknownError,
    TransportError,
)
from ..models import JobSnapshot
from .capabilities import BATCH_MEDIA_TYPE, MAX_BATCH_SIZE, PlatformCapabilities

logger = logging.getLogger("sfjobs")

_BATCHES_REFUSED = frozenset({404, 405, 415, 501})
_THIS_BATCH_REFUSED = frozenset({400, 413, 422})
_PLATFORM_DID_NOTHING = frozenset({401, 429, 503})
_NOT_ABOUT_THE_PROGRAM = frozenset({401, 408, 425, 429})


@dataclass(slots=True, eq=False)
class SubmissionRequest:
    """
    One submission and the state of sending it.

    ``batch_limit`` is how many submissions may share a request with it, ``attempts`` how often it was sent in a batch.
    ``in_flight``: the platform may have received the present attempt. ``maybe_delivered``: it may have accepted an earlier one.
    ``is_journaled``: the journal has it as open. ``needs_journal``: it came from there, as those of groups and recoveries do, and
    is never sent without.
    """

    intent: Intent
    batch_limit: int = MAX_BATCH_SIZE
    attempts: int = 0
    in_flight: bool = False
    maybe_delivered: bool = False
    is_journaled: bool = False
    needs_journal: bool = True


SubmissionReply: TypeAlias = JobSnapshot | RequestFailedError | None
"""The platform's reply to one submission of a batch. None: it has to be sent again."""

R = TypeVar("R", bound=SubmissionReply)


class Submitter:
    """Sends submissions for one connection."""

    def __init__(self, settings: Settings, transport: Transport, session: JournalSession) -> None:
        self.capabilities = PlatformCapabilities(settings.api_version)
        self._settings = settings
        self._transport = transport
        self._session = session
        self._note = transport.odd_fields.note
        self._note_status = transport.odd_fields.note_status
        self._legacy = settings.api_version == "0.2.0"

    def request(
        self, target: str, circuit: str, shots: int | None, name: str | None, priority: int | None = None
    ) -> SubmissionRequest:
        """Return a request with a new idempotency key. Raises ValueError for a program that cannot be sent."""
        if self._legacy:
            fields = wire.legacy_submission(circuit=with_header(circuit, target=target, shots=shots, name=name))
        else:
            circuit = with_header(circuit, target=target, shots=shots)
            fields = wire.submission(name=name, target=target, circuit=circuit, priority=priority)
        key, body = str(uuid.uuid4()), compact_json(fields)
        intent = Intent(key, self._session.url, self._session.account, target, shots, name, body)
        return SubmissionRequest(intent, needs_journal=False)

    async def submit(
        self,
        request: SubmissionRequest,
        *,
        shield: anyio.CancelScope | None = None,
        idempotent: bool = False,
        before_sending: Callable[[], None] = lambda: None,
    ) -> JobSnapshot:
        """
        Send one submission.

        It is sent again only where that cannot make a second job: when it did not arrive, or when the platform honours keys.
        ``idempotent`` states that the platform does, if this connection has not seen it yet. ``before_sending`` may raise
        an error when the request would be sent, after all waits.

        Raises:
            SubmissionUnknownError: the platform may or may not have the job.
            JournalError: it cannot be written to the journal. Nothing was sent.
        """
        idempotent = idempotent or self.capabilities.honours_keys
        [snapshot] = await self._journaled(
            [request], partial(self._send_one, request, shield, idempotent, before_sending)
        )
        return snapshot

    async def submit_batch(
        self,
        requests: Sequence[SubmissionRequest],
        *,
        shield: anyio.CancelScope | None = None,
        before_sending: Callable[[], None] = lambda: None,
    ) -> Sequence[SubmissionReply]:
        """
        Send a batch, and return the reply to each submission, in order. All are None when the platform refuses this batch or all
        batches. Raises what ``submit`` would raise for each of them.
        """
        return await self._journaled(requests, partial(self._send_batch, requests, shield, before_sending))

    def unknown_error(
        self, request: SubmissionRequest, reason: str, cause: RequestFailedError | None = None
    ) -> SubmissionUnknownError:
        """Return the error for a submission that was sent and has no reply."""
        remedy = "`sfjobs recover` does" if request.is_journaled else "`sfjobs list` shows jobs"
        unknown = SubmissionUnknownError(
            f"the platform may or may not have the job: {reason}. Look for it before submitting it again: {remedy}",
            method="POST",
            url=f"{self._settings.url}/jobs",
            attempts=1 if cause is None else cause.attempts,
            idempotency_key=request.intent.key,
            name=request.intent.name,
        )
        unknown.__cause__ = cause and cause.with_traceback(None)
        return unknown

    async def _journaled(
        self, requests: Sequence[SubmissionRequest], send: Callable[[], Awaitable[Sequence[R]]]
    ) -> Sequence[R]:
        is_required = any(request.needs_journal for request in requests)
        is_open = True  # also when this is cancelled while they are written
        try:
            is_open = await self._session.open([request.intent for request in requests], is_required=is_required)
            for request in requests:
                request.is_journaled = request.is_journaled or is_open
            replies = await send()
        except JournalError:
            raise  # nothing was written, and nothing can be
        except BaseException as error:
            outcomes = [outcome_of(request, error) for request in requests]
            for request, outcome in zip(requests, outcomes, strict=True):
                request.in_flight = outcome.state == State.OPEN
            self._close(requests, outcomes, is_open=is_open)
            raise
        self._close(requests, map(outcome_of, requests, replies), is_open=is_open)
        return replies

    def _close(
        self, requests: Sequence[SubmissionRequest], outcomes: Iterable[SubmissionOutcome], *, is_open: bool
    ) -> None:
        """Write the outcomes of those that the journal has, all of them if it is open, else some from an earlier attempt."""
        pairs = zip(requests, outcomes, strict=True)
        if known := [outcome for request, outcome in pairs if is_open or request.is_journaled]:
            self._session.close(known)

    async def _send_one(
        self,
        request: SubmissionRequest,
        shield: anyio.CancelScope | None,
        idempotent: bool,
        before_sending: Callable[[], None],
    ) -> Sequence[JobSnapshot]:
        intent = request.intent
        message = Request(
            method="POST",
            path="/jobs",
            headers={"Content-Type": "application/json", "Idempotency-Key": intent.key},
            content=intent.body,
            idempotent=idempotent,
            expect=frozenset({201}) if self._legacy else None,
            shield=shield,
            on_in_flight=partial(_note_departure, [request], idempotent, before_sending),
        )
        with tracing.span("submit", requests=True, target=intent.target, shots=intent.shots) as span:
            try:
                response = await self._transport.send(message)
                if response.headers.get("idempotency-key") == intent.key and not self.capabilities.honours_keys:
                    self.capabilities.honours_keys = True
                    self._session.note_keys_honoured()
                self.capabilities.learn(response)
                read = partial(wire.job_snapshot, cursor=response.cursor(), note=self._note)
                snapshot = self._note_status(response.parse(read, salvage=True))
            except (TransportError, ProtocolError) as error:
                if self._is_conclusive(error):
                    raise
                raise self.unknown_error(request, str(error), error) from error
            span.note(job_id=snapshot.id, status=snapshot.status.value)
        _log(snapshot, request)
        return [snapshot]

    async def _send_batch(
        self,
        requests: Sequence[SubmissionRequest],
        shield: anyio.CancelScope | None,
        before_sending: Callable[[], None],
    ) -> Sequence[SubmissionReply]:
        message = Request(
            method="POST",
            path="/jobs",
            headers={"Content-Type": BATCH_MEDIA_TYPE},
            content=b"[%s]" % b",".join(map(_batch_item, requests)),
            idempotent=self.capabilities.honours_keys,
            shield=shield,
            on_in_flight=partial(_note_departure, requests, self.capabilities.honours_keys, before_sending),
        )
        targets = {request.intent.target for request in requests}
        target = targets.pop() if len(targets) == 1 else None
        with tracing.span("submit", requests=True, target=target, jobs=len(requests)) as span:
            try:
                replies = self._replies(requests, await self._transport.send(message))
            except (TransportError, ProtocolError) as error:
                if self._is_conclusive(error):
                    raise
                return [self.unknown_error(request, str(error), error) for request in requests]
            except ResponseError as error:
                return self._after_refused_batch(requests, error)
            span.note(taken=sum(isinstance(reply, JobSnapshot) for reply in replies))
        return replies

    def _replies(self, requests: Sequence[SubmissionRequest], response: Response) -> Sequence[SubmissionReply]:
        if response.status_code != 207:
            self.capabilities.stop_batches(f"a batch got status {response.status_code}")
            if self.capabilities.honours_keys:
                return [None] * len(requests)
            return [self._missing(request, response) for request in requests]
        self.capabilities.learn(response)
        read = partial(wire.batch, size=len(requests), cursor=response.cursor(), note=self._note)
        items = response.parse(read, salvage=True)
        replies: list[SubmissionReply] = [
            self._reply(request, item, response) for request, item in zip(requests, items, strict=False)
        ]
        return replies + [self._missing(request, response) for request in requests[len(items) :]]

    def _reply(
        self,
        request: SubmissionRequest,
        item: JobSnapshot | wire.RefusedItem | wire.MalformedResponse,
        response: Response,
    ) -> JobSnapshot | RequestFailedError:
        if isinstance(item, JobSnapshot):
            _log(item, request)
            return self._note_status(item)
        method, url = response.request.method, response.url
        if isinstance(item, wire.RefusedItem):
            return response_error(method, url, item.status_code, masked_fields(item.error, response.secrets))
        reason = response.masked(str(item))
        message = f"{method} {url} returned a malformed reply to one submission of a batch: {reason}"
        error = ProtocolError(message, method=method, url=url)
        return error if self._is_conclusive(error) else self.unknown_error(request, str(error), error)

    def _after_refused_batch(
        self, requests: Sequence[SubmissionRequest], error: ResponseError
    ) -> Sequence[SubmissionReply]:
        """Submit singly from now on if the platform refuses all batches, and in halves if it refuses this one."""
        if error.status_code in _BATCHES_REFUSED:
            self.capabilities.stop_batches(str(error))
        elif error.status_code in _THIS_BATCH_REFUSED:
            for request in requests:
                request.batch_limit = max(len(requests) // 2, 1)
            if error.status_code == 413:
                size = sum(len(request.intent.body) for request in requests)
                self.capabilities.max_batch_bytes = max(size // 2, 1)
            logger.info("a batch of %d is sent in parts: %s", len(requests), error)
        else:
            raise error
        for request in requests:
            request.in_flight = False
        return [None] * len(requests)

    def _is_conclusive(self, error: TransportError | ProtocolError) -> bool:
        """
        Return whether no job was made, or whether the malformed response would come again: with a key the platform repeats it, so
        the submission is not in doubt.
        """
        return not error.sent or (self.capabilities.honours_keys and isinstance(error, ProtocolError))

    def _missing(self, request: SubmissionRequest, response: Response) -> SubmissionUnknownError:
        return self.unknown_error(
            request, f"{response.url} returned status {response.status_code} without a reply to it"
        )


def _batch_item(request: SubmissionRequest) -> bytes:
    # The body is encoded once, for both ways of sending it.
    return b'%s,"idempotency_key":"%s"}' % (request.intent.body[:-1], request.intent.key.encode())


def _note_departure(
    requests: Iterable[SubmissionRequest], idempotent: bool, before_sending: Callable[[], None], is_sent: bool
) -> None:
    if is_sent:
        before_sending()
    for request in requests:
        # Without a key a request is repeated only if it was not accepted. With one it may have been, which stays unknown.
        request.maybe_delivered = request.maybe_delivered or (idempotent and request.in_flight)
        request.in_flight = is_sent


def outcome_of(request: SubmissionRequest, reply: SubmissionReply | BaseException) -> SubmissionOutcome:
    """Return the outcome of a request after its reply, or after the error that ended it."""
    key, in_flight = request.intent.key, request.in_flight
    if isinstance(reply, JobSnapshot):
        return SubmissionOutcome(key=key, state=State.SUBMITTED, job_id=reply.id)
    reason = None if reply is None else str(reply) or type(reply).__name__
    if isinstance(reply, ResponseError):
        status = reply.status_code
        if 400 <= status < 500 and status not in _NOT_ABOUT_THE_PROGRAM and not _is_about_the_key(reply):
            return SubmissionOutcome(key=key, state=State.REFUSED, reason=reason)
        in_flight = status not in _PLATFORM_DID_NOTHING
    elif isinstance(reply, RequestFailedError):
        in_flight = reply.sent
    elif isinstance(reply, ConfigurationError):
        in_flight = False
    state = State.OPEN if in_flight or request.maybe_delivered else State.UNSENT
    return SubmissionOutcome(key=key, state=state, reason=reason)


def _is_about_the_key(error: ResponseError) -> bool:
    """Return whether the platform refused the idempotency key because of an earlier request, not the program."""
    return error.code.startswith("idempotency-key") or (error.status_code == 409 and error.retry_after is not None)


def _log(snapshot: JobSnapshot, request: SubmissionRequest) -> None:
    if logger.isEnabledFor(logging.INFO):
        logger.info("job %s: submitted to %s, %s", snapshot.id, request.intent.target, snapshot.status.value)
