"""Tables and lists of fields in the width of the terminal, in 80 columns elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ...models import JobStatus
from ..errors import printable
from ..streams import encodable

if TYPE_CHECKING:
    from ..._jobs.job import Job

MAX_WIDTH = 40
"""Of a column: a long text in one row must not push the others off the terminal."""
_JOB_WIDTHS = {"id": 36, "status": 14, "target": 24}
_MIN_NAME_WIDTH = 8
MIN_ID_LENGTH = 8
"""Characters of an id in a table; more where these do not distinguish its jobs."""

_STYLES = {"complete": "green", "failed": "red", "cancelled": "dim", "running": "blue"}


def table(first: str, *others: str, justify: Literal["left", "right"] = "left", max_width: int | None = None) -> Table:
    """Return a table without rows. ``max_width`` is that of each column."""
    grid = Table(box=box.SIMPLE_HEAD, safe_box=True, show_edge=False, pad_edge=False)
    for column in (first, *others):
        grid.add_column(
            column, justify="left" if column == first else justify, no_wrap=True, overflow=_cut(), max_width=max_width
        )
    return grid


def _cut() -> Literal["ellipsis", "crop"]:
    """Return how a text that is too long is cut: some encodings have no ellipsis."""
    return "ellipsis" if encodable("\u2026") == "\u2026" else "crop"


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


def cell(text: object, style: str = "") -> Text:
    """Return a text of the platform on one line, with all that standard output cannot show escaped."""
    return Text(encodable(printable(str(text))), style)


def fields(console: Console, pairs: Mapping[str, str | Text | None]) -> None:
    """Print a line for each pair with a value: labels in one column, values, folded when they are long, in another."""
    shown = {label: value for label, value in pairs.items() if value is not None}
    width = min(max(map(len, shown), default=0), max(console.width - 14, console.width // 2 - 2, 1))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(overflow="fold", style="bold", min_width=width, max_width=width)
    grid.add_column(overflow="fold")
    for label, value in shown.items():
        grid.add_row(Text(label), value if isinstance(value, Text) else cell(value))
    write(console, grid)


def job_table(console: Console, jobs: Sequence[Job]) -> Table:
    """
    Return a table of jobs, with short ids and local times. A narrow terminal gets the columns for which it has room: ids and
    statuses are more useful whole than six columns of three letters.
    """
    columns: dict[str, list[Text]] = {
        "id": [cell(job_id) for job_id in short_ids([job.id for job in jobs])],
        "status": [status_text(job) for job in jobs],
        "target": [cell(job.target or "") for job in jobs],
        "created": [cell(_short_moment(job.created_at)) for job in jobs],
        "running": [cell("" if job.running_time is None else duration(job.running_time)) for job in jobs],
        "name": [cell(job.name or "") for job in jobs],
    }
    grid = Table(box=box.SIMPLE_HEAD, safe_box=True, show_edge=False, pad_edge=False)
    widths = _job_widths(columns, console.width)
    for name, width in widths.items():
        justify: Literal["left", "right"] = "right" if name == "running" else "left"
        grid.add_column(name, justify=justify, no_wrap=True, overflow=_cut(), width=width)
    for row in zip(*(columns[name] for name in widths), strict=True):
        grid.add_row(*row)
    return grid


def _job_widths(columns: Mapping[str, Sequence[Text]], room: int) -> dict[str, int]:
    """Return the columns for which there is room, and their widths. The name gets what is left."""
    natural = {name: max(len(name), *(text.cell_len for text in cells)) for name, cells in columns.items()}
    widths = {name: min(width, _JOB_WIDTHS.get(name, MAX_WIDTH)) for name, width in natural.items()}
    widths["name"] = min(natural["name"], _MIN_NAME_WIDTH)

    def left() -> int:
        # The table is indented by 2, and its columns are 3 apart.
        return room - 2 - sum(widths.values()) - 3 * (len(widths) - 1)

    for name in ("running", "created", "target", "name", "status"):
        if left() < 0:
            del widths[name]
    if "name" in widths:
        widths["name"] = min(natural["name"], widths["name"] + max(left(), 0))
    return widths


def no_jobs(statuses: Sequence[str]) -> str:
    """Return the line for an empty list."""
    return f"No job is {' or '.join(statuses)}." if statuses else "No jobs yet."


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
    return cell(word, _STYLES.get(word, ""))


def moment(value: datetime | None) -> str:
    """Return a local time, to the second, or one with its UTC offset where no local time can be told."""
    if value is None:
        return ""
    local = _local(value)
    return f"{value.isoformat(' ', 'seconds')}" if local is None else local.isoformat(" ", "seconds")


def _short_moment(value: datetime | None) -> str:
    if value is None:
        return ""
    local, now = _local(value), _local(datetime.now(UTC))
    if local is None or now is None:
        return value.date().isoformat()
    return f"{local:%m-%d %H:%M}" if local.year == now.year else local.date().isoformat()


def _local(value: datetime) -> datetime | None:
    """
    Return the naive local time; None beyond the first and the last year, and in a zone that ``TZ`` puts a day or more from UTC.
    """
    try:
        return value.astimezone().replace(tzinfo=None)
    except (ValueError, OverflowError, OSError):
        return None


def duration(seconds: float) -> str:
    """Return a time with three digits and a unit, or with two units."""
    if seconds < 0 or not math.isfinite(seconds):
        return f"{seconds:g} s"
    if seconds < 60:
        return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 10_000:
        return f"{hours // 24:,} d"
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def counted(number: int, noun: str) -> str:
    """Return ``1 job`` or ``2,000 jobs``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
