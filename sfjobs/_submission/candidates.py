"""
The jobs that a submission without a response may have become, for ``recovery``. They look like it, and another machine may have
submitted the same program: likeness proves nothing, so a person decides. ``check_adoptions`` checks the decision.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from hashlib import sha256
from typing import TypeAlias

import anyio

from .._http.api import MAX_PAGE_SIZE, PlatformAPI
from .._journal import Journal, JournalEntry
from .._util.aio import plain_task_group
from ..errors import NotFoundError
from ..models import JobSnapshot

MAX_JOBS_SEARCHED = 5_000
"""Jobs read in one search, newest first."""

MAX_JOBS_NAMED = 5
"""Candidates in a reason."""

Traits: TypeAlias = tuple[str, str | None, str]
"""Target, name and digest of the program."""


async def candidates(
    entries: Sequence[JournalEntry], earliest: float, journal: Journal, api: PlatformAPI, limiter: anyio.CapacityLimiter
) -> dict[str, tuple[str, ...]]:
    """
    Return for each entry, by key, the ids of the jobs with its target, name and program that were created since ``earliest``, in
    seconds since the epoch on the platform's clock, and that belong to no other submission of this journal; the oldest first.
    """
    alike: dict[Traits, list[JournalEntry]] = defaultdict(list)
    for entry in entries:
        alike[entry.intent.target, entry.intent.name, _digest(_circuit(entry))].append(entry)
    wanted = {(target, name) for target, name, _ in alike}
    jobs = await _jobs_since(datetime.fromtimestamp(earliest, UTC), wanted, journal, api)
    found: dict[Traits, list[str]] = defaultdict(list)
    traits = await _traits(jobs, api, limiter)
    for job in reversed(jobs):
        if job.id in traits:
            found[traits[job.id]].append(job.id)
    return {entry.key: tuple(found[its_traits]) for its_traits, group in alike.items() for entry in group}


async def check_adoptions(
    adopt: Mapping[str, str], entries: Mapping[str, JournalEntry], journal: Journal, api: PlatformAPI
) -> None:
    """
    Check the jobs that a person gives to submissions, by key.

    Raises:
        ValueError: one is not possible; nothing was changed.
        NotFoundError: the platform has no such job.
    """
    for key in adopt.keys() - entries.keys():
        raise ValueError(f"no submission without a response has the key {key!r}, or a running process is sending it")
    jobs = list(adopt.values())
    for job_id in {job_id for job_id in jobs if jobs.count(job_id) > 1} | await journal.known_jobs(jobs):
        raise ValueError(f"the job {job_id!r} belongs to another submission already: each has a job of its own")
    for key, job_id in adopt.items():
        intent, job = entries[key].intent, await api.job(job_id)
        for what, theirs, ours in (("target", job.target, intent.target), ("name", job.name, intent.name)):
            if theirs is not None and theirs != ours:
                raise ValueError(
                    f"the job {job_id!r} cannot be the submission {key!r}: its {what} is {theirs!r}, not {ours!r}"
                )
        with suppress(NotFoundError):
            if _digest(await api.circuit(job_id)) != _digest(_circuit(entries[key])):
                raise ValueError(f"the job {job_id!r} cannot be the submission {key!r}: it has another program")


def unknown_reason(key: str, job_ids: Sequence[str]) -> str:
    """Return the reason why a submission stays unknown, and what a person can do."""
    remedy = f"If you know its job: `sfjobs recover --adopt {key}=JOBID`"
    if not job_ids:
        return f"the platform lists no such job, but may have it. {remedy}"
    some = f"{', '.join(job_ids[:MAX_JOBS_NAMED])}{', and more' * (len(job_ids) > MAX_JOBS_NAMED)}"
    jobs = f"the job {some}" if len(job_ids) == 1 else f"one of the jobs {some}"
    return f"it may be {jobs}, or none: another machine may have submitted the same program. {remedy}"


async def _jobs_since(
    earliest: datetime, wanted: Collection[tuple[str, str | None]], journal: Journal, api: PlatformAPI
) -> list[JobSnapshot]:
    """Return the jobs with these targets and names, newest first, without those of other submissions in the journal."""
    found: list[JobSnapshot] = []
    searched = 0
    async with aclosing(api.job_pages(size=MAX_PAGE_SIZE)) as pages:
        async for page in pages:
            searched += len(page)
            recent = [job for job in page if job.created_at is None or job.created_at >= earliest]
            found += [job for job in recent if (job.target or "", job.name) in wanted]
            if searched >= MAX_JOBS_SEARCHED or len(recent) < len(page):
                break
    known = await journal.known_jobs([job.id for job in found])
    return [job for job in found if job.id not in known]


async def _traits(jobs: Sequence[JobSnapshot], api: PlatformAPI, limiter: anyio.CapacityLimiter) -> dict[str, Traits]:
    traits: dict[str, Traits] = {}

    async def fetch(job: JobSnapshot) -> None:
        async with limiter:
            with suppress(NotFoundError):
                traits[job.id] = (job.target or "", job.name, _digest(await api.circuit(job.id)))

    async with plain_task_group() as group:
        for job in jobs:
            group.start_soon(fetch, job)
    return traits


def _circuit(entry: JournalEntry) -> str:
    return str(json.loads(entry.intent.body or b"{}").get("circuit", ""))


def _digest(circuit: str) -> str:
    """The digest of a program. White space does not count: a platform may return other line ends."""
    return sha256(" ".join(circuit.split()).encode("utf-8", "surrogatepass")).hexdigest()
