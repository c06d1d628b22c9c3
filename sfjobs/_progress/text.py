"""A ``Progress`` in words, on one line of at most so many characters, and when such a line is worth another line of a log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .tally import Phase, Progress

DOT = " \N{MIDDLE DOT} "
COMMA = ", "
"""Between the parts of a line; the comma for outputs that have no dot."""

PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds between the lines of a log; the last one from then on."""


def line(progress: Progress, width: int | None = None, *, separator: str = DOT) -> str:
    """How far the jobs are. What can best be done without goes first where ``width`` characters do not hold all of it."""
    ended = _ended(progress)
    parts = dict(_parts(progress))
    trouble = parts.pop("trouble", None)
    for name in ("unheard", "queued", "rate", "cancelling", "running", "left"):
        if width is None or len(separator.join([ended, *parts.values()])) <= width:
            break
        parts.pop(name, None)
    # However little of it there is room for: that there is trouble is more than nothing.
    return separator.join([ended, *parts.values(), *([trouble] if trouble else [])])[:width]


def last_line(progress: Progress, width: int | None = None, *, separator: str = DOT) -> str:
    """How far they have come, and in what time: the line that stays."""
    counts = [_ended(progress), *(words for name, words in _parts(progress) if name not in ("rate", "left", "trouble"))]
    return f"{separator.join(counts)} after {lasting(progress.elapsed)}"[:width]


def lasting(seconds: float) -> str:
    """A time for people: tenths below ten seconds, then whole seconds, minutes or hours."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


class Occasions:
    """When a log gets another line: for each new phase at once, and else at growing intervals if anything has changed."""

    def __init__(self) -> None:
        self._pauses = iter(PAUSES)
        self._due = 0.0
        self._phase: Phase | None = None
        self._counts: Sequence[int] = ()

    def is_one(self, progress: Progress) -> bool:
        """Whether now is the time; a yes is taken as a line written."""
        is_new_phase = self._phase is None or progress.phase > self._phase
        is_troubled = progress.trouble is not None
        counts = (
            progress.ended, progress.running, progress.queued, progress.cancelling, progress.fetching, is_troubled,
        )  # fmt: skip
        if not is_new_phase and (progress.elapsed < self._due or counts == self._counts):
            return False
        if progress.elapsed >= self._due:
            self._due = progress.elapsed + next(self._pauses, PAUSES[-1])
        # A job that goes back to the queue does not make a new phase of it.
        self._phase = max(progress.phase, self._phase or Phase.QUEUED)
        self._counts = counts
        return True


def _ended(progress: Progress) -> str:
    failures = [
        f"{number:,} {word}"
        for number, word in ((progress.failed, "failed"), (progress.cancelled, "cancelled"))
        if number
    ]
    noun = "job" if progress.total == 1 else "jobs"
    words = f"{progress.ended:,} of {progress.total:,} {noun} ended"
    return f"{words} ({', '.join(failures)})" if failures else words


def _parts(progress: Progress) -> Iterator[tuple[str, str]]:
    if progress.running:
        yield "running", f"{progress.running:,} running"
    if progress.queued:
        yield "queued", f"{progress.queued:,} queued"
    if progress.cancelling:
        yield "cancelling", f"{progress.cancelling:,} cancelling"
    if progress.unheard:
        yield "unheard", f"{progress.unheard:,} not heard of yet"
    if progress.phase == Phase.FETCHING:
        yield "fetching", f"fetching {progress.fetching:,} {'result' if progress.fetching == 1 else 'results'}"
    if progress.rate is not None:
        yield "rate", _rate(progress.rate)
    if progress.left is not None:
        yield "left", f"about {lasting(max(round(progress.left), 1.0)).replace('.0 s', ' s')} left"
    if progress.trouble is not None:
        yield "trouble", f"waiting out {progress.trouble}"


def _rate(per_second: float) -> str:
    for unit, seconds in (("s", 1), ("min", 60)):
        if per_second * seconds >= 0.95:
            return f"{_figures(per_second * seconds)}/{unit}"
    return f"{_figures(per_second * 3600)}/h"


def _figures(number: float) -> str:
    return f"{number:.1f}" if number < 9.95 else f"{number:,.0f}"
