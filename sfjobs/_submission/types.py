"""The values that go into and come out of a stream of submissions."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from .._protocol.blackbird_template import Params
from .._util.pydantic_schemas import WrittenBy
from .programs import ProgramLike

FAST_SOURCE_SECONDS = 0.02
"""A source that takes longer than this for one program is read only while there is nothing else to do."""

YIELD_EVERY = 32
"""Outcomes returned before other tasks run and a cancellation is noticed."""


@dataclass(frozen=True, slots=True)
class Submission:
    """
    A program with its own options. An option that is None has the value given to ``create_jobs``. ``priority`` is that of
    ``Connection.create_job``.
    """

    program: ProgramLike
    shots: int | None = None
    name: str | None = None
    target: str | None = None
    params: Params | None = None
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    The item that ``create_jobs`` yields instead of a job for a program that was not submitted.

    ``error`` is what ``create_job`` would have raised for ``program``, and ``index`` is its position, from 0. After a
    SubmissionUnknownError, a ProtocolError or a ServerError the platform may have the job all the same.
    """

    index: int
    program: ProgramLike
    error: Annotated[Exception, WrittenBy(str, Exception)]


@dataclass(frozen=True, slots=True)
class End:
    """The end of the source. ``error`` is what the source raised; it is raised after the last job."""

    error: Exception | None = None


Program: TypeAlias = ProgramLike | Submission
Programs: TypeAlias = Iterable[Program] | AsyncIterable[Program]
