"""Accept submissions, one or a batch: reserve their idempotency keys, check them, and store the jobs in one transaction."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

import anyio
from anyio.abc import TaskGroup

from ..errors import ApiError, ClientGone, server_error
from ..records import JobRecord, NewJob
from ..store.interface import JobStore
from .scheduler import Scheduler
from .submission import IncomingSubmission, accepted_body
from .validation import SubmissionValidator

_MAX_CONCURRENT_CHECKS: Final = 2
"""Of one batch: as many as there are processes for them, so that few wait for their turn."""

_PREPARATION_TIMEOUT_SECONDS: Final = 10.0
"""From the beginning of a request. Preparations that take long begin within it, or clients would time out (sfjobs: 30 s)."""

_QUOTA_RETRY_AFTER_SECONDS: Final = 5
_STOPPING_RETRY_AFTER_SECONDS: Final = 5

UntilGone: TypeAlias = Callable[[], Awaitable[None]]
"""Returns when the client has disconnected."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A stored job and the body of its 201. ``change`` is its newest change then, None for a response that is given again."""

    job_id: str
    body: bytes
    change: int | None = None


class JobAcceptance:
    """
    Accepts submissions until the platform stops, while the account has less than ``quota`` unfinished jobs and stores less than
    ``storage`` bytes (0 for no limit). The platform is one process, so the keys that are being processed are known in memory.
    """

    def __init__(
        self, store: JobStore, scheduler: Scheduler, validator: SubmissionValidator, *, quota: int, storage: int = 0
    ) -> None:
        self._store = store
        self._quota = quota
        self._storage = storage
        self._scheduler = scheduler
        self._validator = validator
        self._keys_in_use: dict[tuple[str, str], str] = {}  # fingerprints by account and key

    async def accept(
        self, account: str, submission: IncomingSubmission, *, until_gone: UntilGone | None = None
    ) -> Accepted:
        """Accept one submission. Raises ``ApiError``, and ``ClientGone`` as ``accept_all``."""
        (outcome,) = await self.accept_all(account, [submission], until_gone=until_gone)
        if isinstance(outcome, ApiError):
            raise outcome
        return outcome

    async def accept_all(
        self,
        account: str,
        submissions: Sequence[IncomingSubmission | ApiError],
        *,
        until_gone: UntilGone | None = None,
    ) -> list[Accepted | ApiError]:
        """
        Return the outcome of each submission, in order. One refused submission does not affect the others; all accepted ones are
        stored in one transaction.

        Raises:
            ApiError: the platform is stopping.
            ClientGone: ``until_gone`` returned while programs were checked. The checks were stopped and no job was made.
        """
        if self._scheduler.is_draining:
            detail = "The platform is stopping and accepts no more jobs. Submit again after it was started."
            raise ApiError(503, "stopping", detail, headers={"retry-after": str(_STOPPING_RETRY_AFTER_SECONDS)})
        with ExitStack() as reservations:
            # In order, and before the first await: of two submissions with the same key, the first is accepted.
            reserved = [self._reserve_key(account, submission, reservations) for submission in submissions]
            checked = await self._check_all(account, reserved, until_gone)
            jobs = [outcome for outcome in checked if isinstance(outcome, NewJob)]
            records = iter(await self._scheduler.submit(jobs, quota=self._quota) if jobs else [])
        return [self._outcome(next(records, None)) if isinstance(outcome, NewJob) else outcome for outcome in checked]

    def _outcome(self, record: JobRecord | None) -> Accepted | ApiError:
        """None stands for a job that did not fit into the quota."""
        return self._quota_exceeded() if record is None else Accepted(record.id, accepted_body(record), record.change)

    def _quota_exceeded(self) -> ApiError:
        detail = (
            f"The account has {self._quota} unfinished jobs, the most it may have. Submit again when some have ended."
        )
        return ApiError(429, "quota-exceeded", detail, headers={"retry-after": str(_QUOTA_RETRY_AFTER_SECONDS)})

    def _storage_exceeded(self, stored: int) -> ApiError:
        detail = (
            f"The account stores {stored / 2**20:.1f} MiB of programs and results, and may store {self._storage / 2**20:.1f} MiB."
            " Delete jobs that are not needed any more, with `sfjobs delete`, `job.delete()` or DELETE /jobs/{id}, then submit"
            " again."
        )
        return ApiError(403, "storage-quota-exceeded", detail)

    def _reserve_key(
        self, account: str, submission: IncomingSubmission | ApiError, reservations: ExitStack
    ) -> IncomingSubmission | Accepted | ApiError:
        """Return the submission if it may be checked. Its key is reserved until ``reservations`` is closed."""
        if isinstance(submission, ApiError) or submission.key is None:
            return submission
        key, place = submission.key, (account, submission.key.value)
        stored = self._store.stored_response(*place)
        known = self._keys_in_use.get(place) if stored is None else stored.fingerprint
        if known not in {None, key.fingerprint}:
            detail = (
                f"The idempotency key '{key.value}' was used for a different submission. Use a new key for each one."
            )
            return ApiError(422, "idempotency-key-reused", detail)
        if stored is not None:
            return Accepted(stored.job_id, stored.body)
        if known is not None:
            detail = f"The submission with the idempotency key '{key.value}' is still being processed. Repeat it later."
            return ApiError(409, "idempotency-key-in-use", detail, headers={"retry-after": "1"})
        self._keys_in_use[place] = key.fingerprint
        reservations.callback(self._keys_in_use.pop, place)
        return submission

    async def _check_all(
        self,
        account: str,
        reserved: Sequence[IncomingSubmission | Accepted | ApiError],
        until_gone: UntilGone | None,
    ) -> list[NewJob | Accepted | ApiError]:
        outcomes: list[NewJob | Accepted | ApiError] = [
            server_error() if isinstance(item, IncomingSubmission) else item for item in reserved
        ]
        limiter = anyio.CapacityLimiter(_MAX_CONCURRENT_CHECKS)
        prepare_until = anyio.current_time() + _PREPARATION_TIMEOUT_SECONDS
        async with _Watch(until_gone) as watch:

            async def check(index: int, submission: IncomingSubmission) -> None:
                async with limiter:
                    outcomes[index] = await self._check(account, submission, prepare_until, watch.start)

            async with anyio.create_task_group() as tasks:
                for index, item in enumerate(reserved):
                    if isinstance(item, IncomingSubmission):
                        tasks.start_soon(check, index, item)
        return outcomes

    async def _check(
        self, account: str, submission: IncomingSubmission, prepare_until: float, on_check: Callable[[], None]
    ) -> NewJob | ApiError:
        # Checked here to spare the work of parsing. The transaction that stores the jobs checks the quota again.
        if self._store.count_unfinished(account) >= self._quota:
            return self._quota_exceeded()
        if self._storage and (stored := self._store.stored_bytes(account)) >= self._storage:
            return self._storage_exceeded(stored)
        try:
            return await self._validator.validate(account, submission, prepare_until=prepare_until, on_check=on_check)
        except ApiError as error:
            return error
        except Exception:  # noqa: BLE001 - logged; it must not fail the other submissions of the batch
            _log.exception("a submission failed")
            return server_error()


class _Watch(anyio.AsyncContextManagerMixin):
    """Ends its block with ``ClientGone`` when ``until_gone`` returns, which the first ``start`` calls."""

    def __init__(self, until_gone: UntilGone | None) -> None:
        self._until_gone = until_gone
        self._is_gone = False
        self._tasks: TaskGroup

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        async with anyio.create_task_group() as self._tasks:
            yield self
            self._tasks.cancel_scope.cancel()
        if self._is_gone:
            raise ClientGone

    def start(self) -> None:
        if self._until_gone is not None:
            self._tasks.start_soon(self._wait, self._until_gone)
            self._until_gone = None

    async def _wait(self, until_gone: UntilGone) -> None:
        await until_gone()
        self._is_gone = True
        self._tasks.cancel_scope.cancel()
