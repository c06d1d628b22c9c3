"""A line on stderr for each wait that the platform asks for, such as the one for a quota, while a command submits."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from ..errors import printable

LEAST_SECONDS = 0.5
"""A shorter wait is not worth a line."""


class _Notices(logging.Handler):
    """Prints warnings as ``logging`` does without a handler, and the records of waits."""

    def emit(self, record: logging.LogRecord) -> None:
        seconds = getattr(record, "wait_seconds", 0.0)
        if seconds >= LEAST_SECONDS:
            typer.echo(f"Waiting {seconds:.0f} s: {printable(getattr(record, 'wait_reason', ''))}", err=True)
        elif record.levelno >= logging.WARNING:
            typer.echo(printable(record.getMessage()), err=True)


@contextmanager
def waits_shown() -> Iterator[None]:
    """Print what this program's connections wait for within the block."""
    logger, handler = logging.getLogger("sfjobs"), _Notices()
    level = logger.level
    logger.addHandler(handler)
    if not logger.isEnabledFor(logging.INFO):
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
