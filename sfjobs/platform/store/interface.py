"""
What a store offers to the rest of the platform. Reads are inline and show the committed state; writes return when they are
durable.

Every change of a job's status names the statuses that it may start from, and every change that ends an attempt the number of the
attempt. A change that loses a race writes nothing and returns None. Who decides about changes is ``jobs/scheduler``.

Each change of a job takes the next number of the counter of its account. The change feed reads the jobs that changed after a
number, each at its newest state, oldest change first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from ...models import JobStatus, JSONValue
from ..records import (
    DeletedJob,
    JobRecord,
    KeyRecord,
    NewJob,
    Pause,
    QueuedJob,
    ResultFile,
    SigningSecret,
    StoredResponse,
)

MAX_CRASHES: Final = 5
"""
Crashes of the platform that one job may run in. There may be more of them than of lost workers, since a crash says less against
the job: a machine that often loses power must not fail its jobs, but a job that brings the machine down each time has to end.
"""


class AccountStore(Protocol):
    """Accounts, and the API keys that act for them, of which only hashes are stored."""

    def secret(self, name: str) -> str:
        """Return the random secret of this name. It is created at first use and survives a restart."""

    def signing_secrets(self) -> list[SigningSecret]:
        """Return the secrets of access tokens: the one in use, which is created at first use, and the one before it."""

    def replace_signing_secret(self, *, at_once: bool = False) -> SigningSecret:
        """
        Sign access tokens with a new secret from now on, and return it. Tokens that the secret before has signed stay valid for
        their lifetime, or end now with ``at_once``.
        """

    def ensure_account(self, name: str) -> str:
        """Return the id of the account with this name, which is created if necessary."""

    def add_key(self, account: str, key_hash: str, *, name: str) -> None:
        """
        Let the API key with this hash act for the account. A known key stays as it is, revoked or not.

        Raises:
            ConfigurationError: another active key has the name.
        """

    def key(self, key_hash: str) -> KeyRecord | None:
        """Return the active API key with this hash."""

    def api_keys(self) -> list[KeyRecord]:
        """Return all keys, oldest first, including revoked ones."""

    def is_key_active(self, key_id: str) -> bool:
        """Return whether the key with this id has not been revoked."""

    def revoke_key(self, name: str) -> bool:
        """Revoke the key with this name, and with it its access tokens. False if no active key has the name."""

    async def record_use(self, key: KeyRecord) -> None:
        """Record when the key was last used, to the hour."""


class PauseStore(Protocol):
    """Targets that an operator has paused."""

    def pauses(self) -> list[Pause]:
        """Return all pauses, also those that have ended."""

    def pause(self, pause: Pause) -> None:
        """Pause a target, instead of an earlier pause of it."""

    def resume(self, target: str) -> bool:
        """Remove the pause of a target. False if it has none."""


class OperatorStore(AccountStore, PauseStore, Protocol):
    """What an operator changes also while a platform runs on the same store."""


class JobStore(OperatorStore, Protocol):
    """
    Jobs, with their accounts and the pauses of targets.

    A job that runs again has ``attempts`` in its ``meta``, the number of its starts, and ``rerun_reason``, the reason for the
    last of them. Runs that were ended by a clean stop of the platform do not count.
    """

    def job(self, job_id: str, *, account: str | None = None) -> JobRecord | None:
        """Return one job; with ``account``, only a job of that account."""

    def jobs(
        self,
        account: str,
        *,
        size: int,
        ids: Sequence[str] = (),
        statuses: Sequence[str] = (),
        before: int | None = None,
    ) -> list[JobRecord]:
        """Return up to ``size`` jobs, newest first, with one of ``ids`` and ``statuses`` and a sequence below ``before``."""

    def circuit(self, job_id: str) -> str:
        """Return the program of an existing job, exactly as it was submitted."""

    def stored_response(self, account: str, key: str) -> StoredResponse | None:
        """Return the response to the account's submission with this idempotency key."""

    def count_unfinished(self, account: str) -> int:
        """Return how many jobs of the account have not ended."""

    def unfinished_jobs(self) -> list[tuple[QueuedJob, JobStatus]]:
        """Return every job that has not ended with its status, oldest first."""

    def slot_seconds(self, since: int) -> list[tuple[str, float, float]]:
        """
        Return how long the jobs that ended after ``since`` had a slot, summed for each account and each age in steps of five
        minutes: account, age in seconds, seconds.
        """

    def result_names(self) -> set[str]:
        """Return the names of all result files that jobs have."""

    def on_change(self, listener: Callable[[str], None]) -> None:
        """Call ``listener`` with the account after each commit of a change of its jobs, on any thread. There is one listener."""

    def newest_change(self, account: str) -> int:
        """Return the number of the newest change of the account's jobs."""

    def changes(self, account: str, *, after: int, size: int) -> list[JobRecord]:
        """Return up to ``size`` jobs of the account that changed after that change, by their last change, oldest first."""

    async def check_writable(self) -> None:
        """Write something durably, and forget it. Raises ``sqlite3.Error`` while the store cannot be written."""

    def stored_bytes(self, account: str) -> int:
        """Return the bytes of the programs and results that the account stores."""

    def deleted_jobs(self, account: str, *, after: int, size: int) -> list[DeletedJob]:
        """Return up to ``size`` jobs of the account that were deleted after that change and in the last days, oldest first."""

    def sequence(self, account: str, job_id: str) -> int | None:
        """Return the sequence of a job of the account, also of one that was deleted in the last days."""

    def deleted_results(self) -> list[str]:
        """Return names of deleted results whose files may still exist, up to a number."""

    async def forget_deleted_files(self, names: Iterable[str]) -> None:
        """Note that the files of these deleted results are gone."""

    async def delete_job(self, account: str, job_id: str) -> DeletedJob | None:
        """
        Delete a job that has ended, with its program. None if the account has no such job or it has not ended. Its idempotency
        key stays, so that a repeated submission does not run it again.
        """

    async def delete_old_jobs(self, before: int) -> int:
        """Delete some of the jobs that ended before that time, oldest first. Return how many; 0 when none is left."""

    async def delete_old_results(self, before: int) -> int:
        """Delete some of the results of jobs that ended before that time, oldest first. Return how many; 0 when none is left."""

    async def forget_deleted_jobs(self) -> int:
        """Drop some of the entries of jobs that were deleted long ago. Return how many; 0 when none is left."""

    async def shrink(self) -> int:
        """Give some of the free space in the database back to the disk. Return how much is left to give, 0 at the end."""

    async def add_jobs(self, jobs: Sequence[NewJob], *, quota: int | None = None) -> list[JobRecord]:
        """
        Add new jobs as ``open``, with the responses to those that have an idempotency key, in one transaction. With ``quota``,
        only the first jobs are added until their account has that many unfinished jobs.
        """

    async def enqueue(self, job_ids: Sequence[str]) -> list[JobRecord]:
        """Change ``open`` jobs to ``queued``. Jobs that are no longer open are left out of the returned list."""

    async def start(self, job_id: str) -> JobRecord | None:
        """Start an attempt at a queued job."""

    async def complete(
        self, job_id: str, attempt: int, result: ResultFile, meta: Mapping[str, JSONValue]
    ) -> JobRecord | None:
        """End the running attempt with a result, also if its cancellation was requested."""

    async def fail(self, job_id: str, attempt: int, code: str, detail: str) -> JobRecord | None:
        """End the running attempt without a result, also if its cancellation was requested. The reason goes into ``meta``."""

    async def requeue(self, job_id: str, attempt: int, reason: str) -> JobRecord | None:
        """End the running attempt, which lost its worker, and put the job back into the queue."""

    async def put_back(self, job_id: str, attempt: int) -> JobRecord | None:
        """
        Put a running job back into the queue, because the platform stops or could not run it. The attempt does not count: its
        number is given again.
        """

    async def announce_stop(self) -> None:
        """
        Note that the platform was asked to stop. If it is killed before it has put its running jobs back, the next start does,
        and does not count their attempts.
        """

    async def request_cancel(self, account: str, job_id: str) -> JobRecord | None:
        """
        Change a waiting job to ``cancelled`` and a running one to ``cancel_pending``. None if the account has no such job or it
        has ended.
        """

    async def finish_cancel(self, job_id: str, attempt: int) -> JobRecord | None:
        """Change a ``cancel_pending`` job, whose running attempt has stopped, to ``cancelled``."""
