"""
What the platform tells about jobs and devices, as frozen snapshots: no I/O, no numpy, nothing but reading them.
``wire`` builds them from JSON; everything above hands them around.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from enum import StrEnum
from typing import Self, TypeAlias, Union

JSONValue: TypeAlias = Union[  # noqa: UP007 - `|` cannot hold forward references at run time
    str, int, float, bool, Sequence["JSONValue"], Mapping[str, "JSONValue"], None
]
"""Anything that JSON can say."""


class JobStatus(StrEnum):
    """
    Where a job stands. ``open`` and ``queued`` jobs wait or run (no word tells which: ``Job.started_at`` does),
    ``cancel_pending`` ones are being stopped, the other three are final.

    A word that sfjobs does not know is kept as it came: ``JobStatus("paused")`` is a status that is not final.
    """

    OPEN = "open"
    QUEUED = "queued"
    CANCEL_PENDING = "cancel_pending"
    CANCELLED = "cancelled"
    COMPLETED = "complete"
    FAILED = "failed"

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        unknown = str.__new__(cls, value)
        unknown._name_ = value
        unknown._value_ = value
        return unknown

    @property
    def is_final(self) -> bool:
        """Whether the job has ended, in whichever way."""
        return self in _FINAL

    @property
    def is_known(self) -> bool:
        """Whether this is one of the six words of the protocol."""
        return self in _KNOWN

    def __repr__(self) -> str:
        return f"<JobStatus: {self.value}>"


_FINAL = frozenset({JobStatus.CANCELLED, JobStatus.COMPLETED, JobStatus.FAILED})
_KNOWN = frozenset(JobStatus)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSnapshot:
    """What one answer said about one job. Times are aware datetimes, ``running_time`` is in seconds."""

    id: str
    status: JobStatus
    name: str | None = None
    target: str | None = None
    language: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    running_time: float | None = None
    meta: Mapping[str, JSONValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSpecification:
    """What a device can be asked to do: its circuit layout and the allowed values of each gate parameter."""

    target: str
    layout: str = ""
    modes: int | Mapping[str, JSONValue] = 0
    compiler: tuple[str, ...] = ()
    gate_parameters: Mapping[str, JSONValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """
    A target that runs jobs. ``expected_uptime`` maps lower-case English weekdays to that day's (start, end).
    ``specification`` and ``certificate`` are None in lists, which do not carry them.
    """

    target: str
    status: str | None = None
    expected_uptime: Mapping[str, tuple[time, time]] = field(default_factory=dict)
    created_at: datetime | None = None
    specification: DeviceSpecification | None = None
    certificate: Mapping[str, JSONValue] | None = None

    @property
    def is_online(self) -> bool:
        """Whether the device runs jobs now; an offline one accepts and queues them."""
        return self.status == "online"
