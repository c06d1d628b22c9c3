"""
The async-first SDK for jobs on photonic quantum computers.

    async with sfjobs.Connection() as connection:
        job = await connection.create_job("simulon_gaussian", program, shots=1000)
        result = await job

Map of the package. A folder is a layer and imports only from layers below it. Names without an underscore are public.

    cli/           the command ``sfjobs``
    sync/          the same names for blocking callers
    _client/       Connection, RemoteEngine, JobGroup
    _submission/   from a program to a job: one, many, and after a crash
    _jobs/         the Job handle; waiting for, cancelling and following jobs
    results/       Result, ResultStream; download and decoding of arrays
    _tracking/     how waiters learn of statuses: polling and the change feed
    _journal/      write-ahead log of submissions (SQLite)
    _http/         requests, retries, rate limit, tokens, HTTP/1.1
    config/        Settings: arguments, environment, files
    _progress/     the live line of a wait
    _protocol/     JSON of the wire, server-sent events; no I/O
    errors.py  models.py
    _util/         helpers that know nothing of sfjobs
    testing/       for tests of programs that use sfjobs: a platform in memory, scripted faults, fixtures of pytest
    platform/      the embedded platform, ``sfjobs serve``; shares only errors, models and the version with the client

Where to look first:

    a 429 slows requests down               _http/rate_limiter.py
    a broken download goes on               _http/download.py
    a group is found again                  _client/job_group.py
    a job's limits are enforced             platform/execution/process_executor.py
    the exit code of a timed-out wait       cli/errors.py

``import sfjobs`` loads neither httpx nor numpy: each name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._version import __version__ as __version__

if TYPE_CHECKING:
    from . import sync as sync
    from ._client.connection import Connection as Connection
    from ._client.engine import RemoteEngine as RemoteEngine
    from ._client.job_group import JobGroup as JobGroup
    from ._client.job_group_progress import GroupProgress as GroupProgress
    from ._http.http11 import DirectTransport as DirectTransport
    from ._jobs.events import JobEvent as JobEvent
    from ._jobs.job import Job as Job
    from ._jobs.waiting import as_completed as as_completed
    from ._jobs.waiting import cancel_all as cancel_all
    from ._jobs.waiting import first as first
    from ._jobs.waiting import wait_all as wait_all
    from ._journal import GroupMember as GroupMember
    from ._submission.recovery import Recovered as Recovered
    from ._submission.recovery import Recovery as Recovery
    from ._submission.stream import JobStream as JobStream
    from ._submission.types import Refusal as Refusal
    from ._submission.types import Submission as Submission
    from .config import Secret as Secret
    from .config import Settings as Settings
    from .errors import *  # noqa: F403 - all that it defines is public here
    from .models import Device as Device
    from .models import DeviceSpecification as DeviceSpecification
    from .models import JobOutlook as JobOutlook
    from .models import JobSnapshot as JobSnapshot
    from .models import JobStatus as JobStatus
    from .results import Result as Result
    from .results import ResultStream as ResultStream

# The names of the block above by their modules; a test compares both.
_NAMES = {
    "_client.connection": "Connection",
    "_client.engine": "RemoteEngine",
    "_client.job_group": "JobGroup",
    "_client.job_group_progress": "GroupProgress",
    "_http.http11": "DirectTransport",
    "_jobs.events": "JobEvent",
    "_jobs.job": "Job",
    "_jobs.waiting": "as_completed cancel_all first wait_all",
    "_journal": "GroupMember",
    "_submission.recovery": "Recovered Recovery",
    "_submission.stream": "JobStream",
    "_submission.types": "Refusal Submission",
    "config": "Secret Settings",
    "errors": (
        "AuthenticationError CancelledJobError ConfigurationError ConflictError ConnectionClosedError "
        "FailedJobError InvalidJobOperationError InvalidRequestError JobError JournalError NotFoundError "
        "PermissionDeniedError ProtocolError RateLimitedError RequestFailedError RequestTimeoutError "
        "ResponseError ResultCorruptError ResultError ResultTooLargeError ResultUnavailableError ServerError "
        "SFJobsError SubmissionUnknownError TLSError TransportError WaitTimeoutError"
    ),
    "models": "Device DeviceSpecification JobOutlook JobSnapshot JobStatus",
    "results": "Result ResultStream",
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted(["__version__", "sync", *_MODULE_OF])  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name == "sync":
        return import_module("sfjobs.sync")
    try:
        module = _MODULE_OF[name]
    except KeyError:
        raise AttributeError(f"module 'sfjobs' has no attribute {name!r}") from None
    value: object = getattr(import_module(f"sfjobs.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
