"""
sfjobs: the async-first SDK for jobs on photonic quantum computers.

    async with sfjobs.Connection() as connection:
        job = await connection.create_job("simulon_gaussian", program, shots=1000)
        result = await job

The names below are imported when they are first used: ``import sfjobs`` alone loads neither httpx nor numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import sync as sync
    from .config import Secret as Secret
    from .config import Settings as Settings
    from .connection import Connection as Connection
    from .engine import RemoteEngine as RemoteEngine
    from .errors import AuthenticationError as AuthenticationError
    from .errors import CancelledJobError as CancelledJobError
    from .errors import ConfigurationError as ConfigurationError
    from .errors import ConflictError as ConflictError
    from .errors import ConnectionClosedError as ConnectionClosedError
    from .errors import FailedJobError as FailedJobError
    from .errors import InvalidJobOperationError as InvalidJobOperationError
    from .errors import InvalidRequestError as InvalidRequestError
    from .errors import JobError as JobError
    from .errors import JournalError as JournalError
    from .errors import NotFoundError as NotFoundError
    from .errors import PermissionDeniedError as PermissionDeniedError
    from .errors import ProtocolError as ProtocolError
    from .errors import RateLimitedError as RateLimitedError
    from .errors import RequestFailedError as RequestFailedError
    from .errors import RequestTimeoutError as RequestTimeoutError
    from .errors import ResponseError as ResponseError
    from .errors import ResultCorruptError as ResultCorruptError
    from .errors import ResultError as ResultError
    from .errors import ResultTooLargeError as ResultTooLargeError
    from .errors import ResultUnavailableError as ResultUnavailableError
    from .errors import ServerError as ServerError
    from .errors import SFJobsError as SFJobsError
    from .errors import SubmissionUnknownError as SubmissionUnknownError
    from .errors import TransportError as TransportError
    from .errors import WaitTimeoutError as WaitTimeoutError
    from .events import JobEvent as JobEvent
    from .group import JobGroup as JobGroup
    from .group_progress import GroupProgress as GroupProgress
    from .groups import as_completed as as_completed
    from .groups import cancel_all as cancel_all
    from .groups import first as first
    from .groups import wait_all as wait_all
    from .job import Job as Job
    from .journal import GroupMember as GroupMember
    from .models import Device as Device
    from .models import DeviceSpecification as DeviceSpecification
    from .models import JobOutlook as JobOutlook
    from .models import JobSnapshot as JobSnapshot
    from .models import JobStatus as JobStatus
    from .recovery import Recovered as Recovered
    from .recovery import Recovery as Recovery
    from .results import Result as Result
    from .results import ResultStream as ResultStream
    from .submission import JobStream as JobStream
    from .submission import Refusal as Refusal
    from .submission import Submission as Submission

__version__ = "0.1.0"

_HOMES = {
    "config": ("Secret", "Settings"),
    "connection": ("Connection",),
    "engine": ("RemoteEngine",),
    "errors": (
        "AuthenticationError",
        "CancelledJobError",
        "ConfigurationError",
        "ConflictError",
        "ConnectionClosedError",
        "FailedJobError",
        "InvalidJobOperationError",
        "InvalidRequestError",
        "JobError",
        "JournalError",
        "NotFoundError",
        "PermissionDeniedError",
        "ProtocolError",
        "RateLimitedError",
        "RequestFailedError",
        "RequestTimeoutError",
        "ResponseError",
        "ResultCorruptError",
        "ResultError",
        "ResultTooLargeError",
        "ResultUnavailableError",
        "SFJobsError",
        "ServerError",
        "SubmissionUnknownError",
        "TransportError",
        "WaitTimeoutError",
    ),
    "events": ("JobEvent",),
    "group": ("JobGroup",),
    "group_progress": ("GroupProgress",),
    "groups": ("as_completed", "cancel_all", "first", "wait_all"),
    "job": ("Job",),
    "journal": ("GroupMember",),
    "models": ("Device", "DeviceSpecification", "JobOutlook", "JobSnapshot", "JobStatus"),
    "recovery": ("Recovered", "Recovery"),
    "results": ("Result", "ResultStream"),
    "submission": ("JobStream", "Refusal", "Submission"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(["__version__", "sync", *_HOME_OF])  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name == "sync":
        return import_module("sfjobs.sync")
    try:
        home = _HOME_OF[name]
    except KeyError:
        raise AttributeError(f"module 'sfjobs' has no attribute {name!r}") from None
    value: object = getattr(import_module(f"sfjobs.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), "sync", *_HOME_OF})
