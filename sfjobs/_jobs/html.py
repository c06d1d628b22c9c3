"""A job as a notebook shows it."""

from __future__ import annotations

from .._util.html import card, entries, text_row, time_row
from ..models import JobSnapshot


def job_html(job: JobSnapshot, result: str | None = None) -> str:
    """Return the job as an HTML fragment. ``result`` is the fragment of its result, placed below."""
    rows = [
        *text_row("name", job.name),
        *text_row("target", job.target),
        *time_row("created", job.created_at),
        *time_row("started", job.started_at),
        *time_row("finished", job.finished_at),
        *([] if job.running_time is None else [("ran for", f"{job.running_time:.3g} s")]),
        *entries(job.meta),
    ]
    return card("Job", job.id, job.status.value, rows, below=result or "")
