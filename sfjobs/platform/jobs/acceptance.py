"""
From submissions, one or a batch, to jobs that are written down and to the answers about them. A submission may carry an
idempotency key: the account's first job with that key stays the only one, and its answer is given again, byte for byte.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import anyio
import anyio.to_thread

from ..errors import ApiError, invalid, server_error
from ..records import Claim, JobRecord, NewJob
from ..store.jobs import Store
from .representation import compact_json, job_object
from .scheduler import Scheduler
from .validation import SubmissionValidator

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_CHECKED_AT_ONCE: Final = (
    2  # of one batch: as many as there are threads for it, so that others' submissions come between
)
_PAUSE_AT_QUOTA: Final = 5
"""Seconds that a client is told to wait for jobs to end."""
_PAUSE_WHEN_STOPPING: Final = 5
"""Seconds that a client is told to wait for a restart."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that is durable, and the body of its 201. ``change`` is its newest then, None for an answer that is given again."""

    job_id: str
    body: bytes
    change: int | None = None


@dataclass(frozen=True, slots=True)
class IncomingSubmission:
    """One submission: the job's fields as they came, still unchecked, and its idempotency key if it has one."""

    fields: Mapping[str, Any]
    key: str | None = None


@dataclass(frozen=True, slots=True)
class _Claimed:
    """A submission that may be checked: nobody else has its idempotency key, if it has one."""

    fields: Mapping[str, Any]
    claim: Claim | None


class JobAcceptance:
    """
    Takes submissions, as long as the platform is not being stopped and the account has less than ``quota`` unfinished jobs. The
    platform is one process, so it knows by itself which keys are being worked on.
    """

    def __init__(self, store: Store, scheduler: Scheduler, submissions: SubmissionValidator, *, quota: int) -> None:
        self._store = store
        self._quota = quota
        self._scheduler = scheduler
        self._submissions = submissions
        self._in_flight: dict[tuple[str, str], str] = {}

    async def take(self, account: str, order: IncomingSubmission) -> Accepted:
        """Raises ``ApiError``."""
        outcome = (await self.take_all(account, [order]))[0]
        if isinstance(outcome, ApiError):
            raise outcome
        return outcome

    async def take_all(
        self, account: str, orders: Sequence[IncomingSubmission | ApiError]
    ) -> list[Accepted | ApiError]:
        """
        What became of each, in order. Each is judged by itself; those that are good are written in one transaction. Raises
        ``ApiError`` for all of them if the platform is being stopped.
        """
        if self._scheduler.is_draining:
            detail = "The platform is being stopped and takes no more jobs: ask again when it has been started."
            raise ApiError(503, "stopping", detail, headers={"retry-after": str(_PAUSE_WHEN_STOPPING)})
        with ExitStack() as claims:
            fingerprints = await _fingerprints(orders)
            # In order, and before threads are at work: of two with the same key it is always the first that is taken.
            claimed = [
                self._claim(account, order, fingerprint, claims)
                for order, fingerprint in zip(orders, fingerprints, strict=True)
            ]
            checked = await self._check_all(account, claimed)
            jobs = [outcome for outcome in checked if isinstance(outcome, NewJob)]
            records = iter(await self._scheduler.submit_all(jobs, quota=self._quota) if jobs else [])
        return [self._answer(next(records, None)) if isinstance(outcome, NewJob) else outcome for outcome in checked]

    def _answer(self, record: JobRecord | None) -> Accepted | ApiError:
        """None stands for a job that the quota left no room for."""
        if record is None:
            return self._beyond_quota()
        return Accepted(record.id, _body(record), record.change)

    def _beyond_quota(self) -> ApiError:
        detail = (
            f"The account has {self._quota} unfinished jobs, as many as it may: ask again when some of them have ended."
        )
        return ApiError(429, "quota-exceeded", detail, headers={"retry-after": str(_PAUSE_AT_QUOTA)})

    def _claim(
        self, account: str, order: IncomingSubmission | ApiError, fingerprint: str | ApiError | None, claims: ExitStack
    ) -> _Claimed | Accepted | ApiError:
        if isinstance(order, ApiError):
            return order
        if isinstance(fingerprint, ApiError):
            return fingerprint
        if order.key is None or fingerprint is None:
            return _Claimed(order.fields, None)
        claim = Claim(key=order.key, fingerprint=fingerprint, answer=_body)
        try:
            if (accepted := self._accepted_before(account, claim)) is not None:
                return accepted
            claims.enter_context(self._claimed(account, claim))
        except ApiError as error:
            return error
        return _Claimed(order.fields, claim)

    async def _check_all(
        self, account: str, claimed: Sequence[_Claimed | Accepted | ApiError]
    ) -> list[NewJob | Accepted | ApiError]:
        outcomes: list[NewJob | Accepted | ApiError] = [
            server_error() if isinstance(order, _Claimed) else order for order in claimed
        ]
        limiter = anyio.CapacityLimiter(_CHECKED_AT_ONCE)

        async def check(number: int, order: _Claimed) -> None:
            async with limiter:
                outcomes[number] = await self._check(account, order)

        async with anyio.create_task_group() as tasks:
            for number, order in enumerate(claimed):
                if isinstance(order, _Claimed):
                    tasks.start_soon(check, number, order)
        return outcomes

    async def _check(self, account: str, order: _Claimed) -> NewJob | ApiError:
        try:
            self._check_quota(account)
            return replace(await self._submissions.job(account, order.fields), claim=order.claim)
        except ApiError as error:
            return error
        except Exception:  # noqa: BLE001 - logged; one submission's misfortune must not be the whole batch's
            _log.exception("a submission failed")
            return server_error()

    def _check_quota(self, account: str) -> None:
        """Before the work of parsing; what counts is the same question inside the transaction that writes the jobs."""
        if self._store.unfinished_of(account) >= self._quota:
            raise self._beyond_quota()

    def _accepted_before(self, account: str, claim: Claim) -> Accepted | None:
        kept = self._store.kept_answer(account, claim.key)
        if kept is None:
            return None
        if kept.fingerprint != claim.fingerprint:
            raise _reused(claim.key)
        return Accepted(kept.job_id, kept.body)

    @contextmanager
    def _claimed(self, account: str, claim: Claim) -> Iterator[None]:
        """The key is this submission's until it is written down or refused."""
        fingerprint = self._in_flight.get((account, claim.key))
        if fingerprint == claim.fingerprint:
            detail = f"The submission with the idempotency key '{claim.key}' is still being processed: ask again."
            raise ApiError(409, "idempotency-key-in-use", detail, headers={"retry-after": "1"})
        if fingerprint is not None:
            raise _reused(claim.key)
        self._in_flight[account, claim.key] = claim.fingerprint
        try:
            yield
        finally:
            del self._in_flight[account, claim.key]


def checked_key(text: object, field: str) -> str:
    """An idempotency key as clients may choose it; 400 that names ``field`` if it is none."""
    if not isinstance(text, str) or not _KEY.fullmatch(text):
        raise invalid({field: ["Must be 1 to 255 visible ASCII characters."]})
    return text


def _reused(key: str) -> ApiError:
    detail = f"The idempotency key '{key}' came with another submission before; each needs one of its own."
    return ApiError(422, "idempotency-key-reused", detail)


def _body(record: JobRecord) -> bytes:
    return compact_json(job_object(record, None))


async def _fingerprints(orders: Sequence[IncomingSubmission | ApiError]) -> list[str | ApiError | None]:
    """
    Of each submission with a key what is the same for the same fields in any order, whether they came alone or in a batch.
    """
    if all(isinstance(order, ApiError) or order.key is None for order in orders):
        return [None] * len(orders)
    return await anyio.to_thread.run_sync(lambda: [_fingerprint(order) for order in orders])


def _fingerprint(order: IncomingSubmission | ApiError) -> str | ApiError | None:
    if isinstance(order, ApiError) or order.key is None:
        return None
    try:
        return hashlib.sha256(compact_json(dict(sorted(order.fields.items())))).hexdigest()
    except RecursionError:  # as deep as can just be read, and not be written again
        return invalid({"_schema": ["Nested too deeply."]})
