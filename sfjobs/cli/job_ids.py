"""Job ids as users type them: their first characters, or a list on standard input."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from .errors import CommandError, printable

if TYPE_CHECKING:
    from .._client.connection import Connection
    from .._jobs.job import Job

MIN_CHARACTERS = 4
"""Of a shortened id."""
MAX_JOBS_SEARCHED = 1000
"""The newest jobs, among which a shortened id is looked up: ten requests."""
_MAX_CANDIDATES_SHOWN = 5

IdArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="ID", help="Id of the job, or its first characters, 4 at least.")
]
IdsArgument: TypeAlias = Annotated[
    list[str],
    typer.Argument(metavar="ID", help="Ids, or their first characters, 4 at least; - for ids on standard input."),
]

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z", re.IGNORECASE)


def given(words: Sequence[str]) -> list[str]:
    """Return the ids of a command line without repeats; ``-`` stands for those on standard input."""
    found: list[str] = []
    for word in words:
        found += sys.stdin.read().split() if word == "-" else [word]
    if not found:
        raise CommandError("Standard input has no ids.", "Pipe some in, as in `sfjobs list --ids | sfjobs wait -`.")
    for word in found:
        if len(word) < MIN_CHARACTERS:
            raise CommandError(
                f"The id {printable(word)!r} is too short.",
                f"Give at least {MIN_CHARACTERS} characters of it; `sfjobs list` shows ids.",
            )
    return list(dict.fromkeys(found))


async def resolve(connection: Connection, words: Sequence[str]) -> list[str]:
    """Return whole ids without repeats. Only shortened ones cost requests, for the list of jobs."""
    if all(_UUID.match(word) for word in words) or connection.settings.api_version == "0.2.0":
        return list(dict.fromkeys(words))
    jobs = [job async for job in connection.list_jobs(limit=MAX_JOBS_SEARCHED)]
    return list(dict.fromkeys(word if _UUID.match(word) else _match(jobs, word) for word in words))


async def find(connection: Connection, words: Sequence[str]) -> Job:
    """Request the job with the one id in ``words``."""
    [job_id] = await resolve(connection, words)
    return await connection.get_job(job_id)


def _match(jobs: Sequence[Job], word: str) -> str:
    matching = [job for job in jobs if job.id.lower().startswith(word.lower())]
    if len(matching) == 1:
        return matching[0].id
    if word in {job.id for job in matching}:
        return word
    shown = printable(word)
    if not matching:
        what = f"None of the newest {MAX_JOBS_SEARCHED:,} jobs has an id that begins with {shown!r}."
        raise CommandError(what, "See `sfjobs list`, or give the whole id.")
    candidates = ", ".join(f"{printable(job.id)} ({job.status.value})" for job in matching[:_MAX_CANDIDATES_SHOWN])
    more = f" and {len(matching) - _MAX_CANDIDATES_SHOWN} more" if len(matching) > _MAX_CANDIDATES_SHOWN else ""
    raise CommandError(
        f"{len(matching)} jobs have an id that begins with {shown!r}.", f"Give more of it: {candidates}{more}."
    )
