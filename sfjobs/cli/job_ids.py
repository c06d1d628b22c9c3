"""Ids of jobs as people type them: shortened while no other job fits, or read from standard input."""

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

LEAST = 4
"""Characters that a shortened id must have."""
NEWEST = 1000
"""Jobs looked through for a shortened id; ten requests."""
_SHOWN = 5

IdArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="ID", help="Id of the job, or its first characters, 4 at least.")
]
IdsArgument: TypeAlias = Annotated[
    list[str],
    typer.Argument(metavar="ID", help="Ids, or their first characters, 4 at least; - for ids on standard input."),
]

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z", re.IGNORECASE)


def given(words: Sequence[str]) -> list[str]:
    """The ids of a command line, each once; ``-`` stands for those on standard input, apart by white space."""
    found: list[str] = []
    for word in words:
        found += sys.stdin.read().split() if word == "-" else [word]
    if not found:
        raise CommandError("Standard input has no ids.", "Pipe some in, as in `sfjobs list --ids | sfjobs wait -`.")
    for word in found:
        if len(word) < LEAST:
            raise CommandError(
                f"The id {printable(word)!r} is too short.",
                f"Give at least {LEAST} characters of it; `sfjobs list` shows ids.",
            )
    return list(dict.fromkeys(found))


async def resolve(connection: Connection, words: Sequence[str]) -> list[str]:
    """The whole ids, each once. Whole ones are taken as they are; only shortened ones cost a look at the list of jobs."""
    if all(_UUID.match(word) for word in words) or connection.settings.api_version == "0.2.0":
        return list(dict.fromkeys(words))
    jobs = [job async for job in connection.list_jobs(limit=NEWEST)]
    return list(dict.fromkeys(word if _UUID.match(word) else _the_one(jobs, word) for word in words))


async def find(connection: Connection, word: str) -> Job:
    """The job, as the platform tells of it now."""
    [job_id] = await resolve(connection, [word])
    return await connection.get_job(job_id)


def _the_one(jobs: Sequence[Job], word: str) -> str:
    fitting = [job for job in jobs if job.id.lower().startswith(word.lower())]
    if len(fitting) == 1:
        return fitting[0].id
    if word in {job.id for job in fitting}:
        return word
    shown = printable(word)
    if not fitting:
        what = f"No id among those of the newest {NEWEST:,} jobs begins with {shown!r}."
        raise CommandError(what, "See `sfjobs list`, or give the whole id.")
    candidates = ", ".join(f"{printable(job.id)} ({job.status.value})" for job in fitting[:_SHOWN])
    more = f" and {len(fitting) - _SHOWN} more" if len(fitting) > _SHOWN else ""
    raise CommandError(
        f"{len(fitting)} jobs have an id that begins with {shown!r}.", f"Give more of it: {candidates}{more}."
    )
