"""Job ids as users type them: their first characters, or a list on standard input."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from . import streams
from .errors import CommandError, ExitCode, printable

if TYPE_CHECKING:
    from .._client.connection import Connection
    from .._jobs.job import Job

MIN_CHARACTERS = 4
"""Of a shortened id."""
MAX_JOBS_SEARCHED = 1000
"""The newest jobs, among which a shortened id is looked up: ten requests."""
_MAX_CANDIDATES_SHOWN = 5
_MAX_ID_SHOWN = 60
_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u2060\u200e\u200f\u202a\u202c"), " ")
"""The byte order mark and marks of width and direction, which come with ids that are copied from documents and chats."""

IdArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="ID", help="Id of the job, or its first characters, 4 at least.")
]
IdsArgument: TypeAlias = Annotated[
    list[str],
    typer.Argument(metavar="ID", help="Ids, or their first characters, 4 at least; - for ids on standard input."),
]

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z", re.IGNORECASE)


def given(words: Sequence[str]) -> list[str]:
    """
    Return the ids of a command line without repeats; ``-`` stands for those on standard input, which may be none. Blanks, line
    ends and byte order marks around ids are dropped, and UUIDs become lower case, as platforms write them.
    """
    found: list[str] = []
    for word in words:
        ids = _split(streams.read_text() if word == "-" else word)
        found += ids or ([] if word == "-" else [""])
    for word in found:
        if len(word) < MIN_CHARACTERS:
            raise CommandError(
                f"The id {_excerpt(word)} is too short." if word else "The id is empty.",
                f"Give at least {MIN_CHARACTERS} characters of it; `sfjobs list` shows ids.",
            )
    return list(dict.fromkeys(found))


def one(word: str) -> str:
    """Return the one id that an argument, or ``-``, stands for."""
    found = given([word])
    if not found:
        raise CommandError("Standard input has no id.", "Give the id of one job; `sfjobs list` shows ids.")
    if len(found) > 1:
        raise CommandError(f"This command takes one id, not {len(found):,}.", "Run it once for each.")
    return found[0]


def _split(text: str) -> list[str]:
    words = text.translate(_INVISIBLE).split()
    return [word.lower() if _UUID.match(word) else word for word in words]


def _excerpt(word: str) -> str:
    shown = printable(word)
    return repr(shown if len(shown) <= _MAX_ID_SHOWN else f"{shown[:_MAX_ID_SHOWN]}...")


async def resolve(connection: Connection, words: Sequence[str]) -> list[str]:
    """Return whole ids without repeats. Only shortened ones cost requests, for the list of jobs."""
    from .._protocol.wire import job_path

    for word in words:
        try:
            job_path(word)
        except ValueError as error:
            what = f"{_excerpt(word)} cannot be the id of a job."
            raise CommandError(what, "See `sfjobs list`.", ExitCode.NOT_FOUND) from error
    if all(_UUID.match(word) for word in words) or connection.settings.api_version == "0.2.0":
        return list(dict.fromkeys(words))
    jobs = [job async for job in connection.list_jobs(limit=MAX_JOBS_SEARCHED)]
    return list(dict.fromkeys(word if _UUID.match(word) else _match(jobs, word) for word in words))


async def find(connection: Connection, word: str) -> Job:
    """Request the job with this id, which may be shortened."""
    [job_id] = await resolve(connection, [word])
    return await connection.get_job(job_id)


def _match(jobs: Sequence[Job], word: str) -> str:
    matching = [job for job in jobs if job.id.lower().startswith(word.lower())]
    if len(matching) == 1:
        return matching[0].id
    if word in {job.id for job in matching}:
        return word
    shown = _excerpt(word)
    if not matching:
        what = f"None of the newest {MAX_JOBS_SEARCHED:,} jobs has an id that begins with {shown}."
        raise CommandError(what, "See `sfjobs list`, or give the whole id.", ExitCode.NOT_FOUND)
    candidates = ", ".join(f"{printable(job.id)} ({job.status.value})" for job in matching[:_MAX_CANDIDATES_SHOWN])
    more = f" and {len(matching) - _MAX_CANDIDATES_SHOWN} more" if len(matching) > _MAX_CANDIDATES_SHOWN else ""
    raise CommandError(
        f"{len(matching)} jobs have an id that begins with {shown}.", f"Give more of it: {candidates}{more}."
    )
