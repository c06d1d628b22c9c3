"""``Progress`` as one line of text, and when a log gets another line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .tally import Phase, Progress

DOT = " \N{MIDDLE DOT} "
COMMA = ", "
"""Between the parts of a line; the comma for encodings without the dot."""

LOG_INTERVALS_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Times between the lines of a log; the last one from then on."""


def line(progress: Progress, width: int | None = None, *, separator: str = DOT) -> str:
    """Return the progress as one line. The least important parts are left out where they exceed ``width`` characters."""
    ended = _ended(progress)
    parts = dict(_parts(progress))
    trouble = parts.pop("trouble", None)
    for name in ("not polled yet", "queued", "rate", "cancelling", "running", "left"):
        if width is None or len(separator.join([ended, *parts.values()])) <= width:
            break
        parts.pop(name, None)
    # The beginning of an error is better than nothing.
    return separator.join([ended, *parts.values(), *([trouble] if trouble else [])])[:width]


def last_line(progress: Progress, width: int | None = None, *, separator: str = DOT) -> str:
    """Return the line that stays: the counts, and the time it took."""
    counts = [_ended(progress), *(words for name, words in _parts(progress) if name not in ("rate", "left", "trouble"))]
    return f"{separator.join(counts)} after {duration(progress.elapsed)}"[:width]


def duration(seconds: float) -> str:
    """Return a time as text: tenths below ten seconds, then whole seconds, minutes or hours."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


class LogSchedule:
    """When a log gets another line: for each new phase at once, and else at growing intervals if anything has changed."""

    def __init__(self) -> None:
        self._intervals = iter(LOG_INTERVALS_SECONDS)
        self._due = 0.0
        self._phase: Phase | None = None
        self._counts: Sequence[int] = ()

    def is_due(self, progress: Progress) -> bool:
        """Return whether to write a line now; if so, plan the next one."""
        is_new_phase = self._phase is None or progress.phase > self._phase
        counts = (
            progress.ended, progress.running, progress.queued, progress.cancelling, progress.fetching,
            progress.trouble is not None,
        )  # fmt: skip
        if not is_new_phase and (progress.elapsed < self._due or counts == self._counts):
            return False
        if progress.elapsed >= self._due:
            self._due = progress.elapsed + next(self._intervals, LOG_INTERVALS_SECONDS[-1])
        # A job that goes back to the queue begins no new phase.
        self._phase = max(progress.phase, self._phase or Phase.QUEUED)
        self._counts = counts
        return True


def _ended(progress: Progress) -> str:
    failures = ((progress.failed, "failed"), (progress.cancelled, "cancelled"))
    details = ", ".join(f"{number:,} {word}" for number, word in failures if number)
    words = f"{progress.ended:,} of {progress.total:,} {'job' if progress.total == 1 else 'jobs'} ended"
    return f"{words} ({details})" if details else words


def _parts(progress: Progress) -> Iterator[tuple[str, str]]:
    counts = (progress.running, progress.queued, progress.cancelling, progress.unpolled)
    for number, name in zip(counts, ("running", "queued", "cancelling", "not polled yet"), strict=True):
        if number:
            yield name, f"{number:,} {name}"
    if progress.phase == Phase.FETCHING:
        yield "fetching", f"fetching {progress.fetching:,} {'result' if progress.fetching == 1 else 'results'}"
    if progress.rate is not None:
        yield "rate", _rate(progress.rate)
    if progress.left is not None:
        yield "left", f"about {duration(max(round(progress.left), 1.0)).replace('.0 s', ' s')} left"
    if progress.trouble is not None:
        yield "trouble", f"retrying after {progress.trouble}"


def _rate(per_second: float) -> str:
    for unit, seconds in (("s", 1), ("min", 60), ("h", 3600)):
        number = per_second * seconds
        if number >= 0.95 or unit == "h":
            break
    return f"{number:.1f}/{unit}" if number < 9.95 else f"{number:,.0f}/{unit}"
