"""Tables and lists of fields in the width of the terminal, in 80 columns elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ...models import JobStatus
from ..context import can_draw
from ..errors import printable

if TYPE_CHECKING:
    from ..._jobs.job import Job

MIN_ID_LENGTH = 8
"""Characters of an id in a table; more where these do not distinguish its jobs."""

_STYLES = {"complete": "green", "failed": "red", "cancelled": "dim", "running": "blue"}


def table(first: str, *others: str, justify: Literal["left", "right"] = "left") -> Table:
    grid = Table(box=box.SIMPLE_HEAD, safe_box=True, show_edge=False, pad_edge=False)
    grid.add_column(first, no_wrap=True)
    for column in others:
        grid.add_column(column, justify=justify, no_wrap=True)
    return grid


def indented(console: Console, *renderables: RenderableType) -> None:
    """Print tables and texts two columns to the right of headlines."""
    for renderable in renderables:
        write(console, indentation(renderable))


def indentation(renderable: RenderableType) -> Padding:
    return Padding(renderable, (0, 0, 0, 2), expand=False)


def write(console: Console, renderable: RenderableType) -> None:
    """Print to a terminal; to a file or a pipe without the spaces that rich fills lines with."""
    if console.is_terminal:
        console.print(renderable)
        return
    with console.capture() as captured:
        console.print(renderable)
    console.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def fields(console: Console, pairs: Mapping[str, str | Text | None]) -> None:
    """Print a line for each pair with a value: labels in one column, values, folded when they are long, in another."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for label, value in pairs.items():
        if value is not None:
            grid.add_row(label, value if isinstance(value, Text) else Text(printable(value)))
    write(console, grid)


def job_table(console: Console, jobs: Sequence[Job]) -> Table:
    """Return a table of jobs, with short ids and local times."""
    grid = table("id", "status", "target", "created")
    grid.add_column("running", justify="right", no_wrap=True)
    # Some encodings have no ellipsis.
    grid.add_column("name", no_wrap=True, overflow="ellipsis" if can_draw(console) else "crop")
    for job, job_id in zip(jobs, short_ids([job.id for job in jobs]), strict=True):
        running = "" if job.running_time is None else duration(job.running_time)
        target, name = (Text(printable(text or "")) for text in (job.target, job.name))
        grid.add_row(Text(job_id), status_text(job), target, _short_moment(job.created_at), running, name)
    return grid


def no_jobs(status: str | None) -> str:
    """Return the line for an empty list."""
    return f"No job is {status}." if status else "No jobs yet."


def short_ids(ids: Sequence[str]) -> list[str]:
    """Return the first characters of each id: as many as distinguish all of them."""
    length = MIN_ID_LENGTH
    while length < max(map(len, ids), default=0) and len({job_id[:length] for job_id in ids}) < len(set(ids)):
        length += 1
    return [printable(job_id[:length]) for job_id in ids]


def status_word(job: Job) -> str:
    """Return the status for people: ``running`` too, which the protocol calls ``queued``."""
    match job.status:
        case JobStatus.OPEN | JobStatus.QUEUED:
            return "queued" if job.started_at is None else "running"
        case JobStatus.CANCEL_PENDING:
            return "cancelling"
        case other:
            return printable(other.value)


def status_text(job: Job) -> Text:
    word = status_word(job)
    return Text(word, style=_STYLES.get(word, ""))


def moment(value: datetime | None) -> str:
    """Return a local time, to the second."""
    return "" if value is None else value.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _short_moment(value: datetime | None) -> str:
    if value is None:
        return ""
    local = value.astimezone()
    is_this_year = local.year == datetime.now(UTC).astimezone().year
    return local.strftime("%m-%d %H:%M" if is_this_year else "%Y-%m-%d")


def duration(seconds: float) -> str:
    """Return a time with three digits and a unit, or with two units."""
    if seconds < 60:
        return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def counted(number: int, noun: str) -> str:
    """Return ``1 job`` or ``2,000 jobs``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
