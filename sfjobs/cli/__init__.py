"""
The command ``sfjobs``. A command imports what it needs beyond typer when it runs, so that ``--help`` and completion are quick.

    application      the command line: finds the command, and turns exceptions into an error message and an exit code
    errors           exit codes, and the two lines of each error message
    streams          standard streams that are closed, or cannot encode a text
    signals          SIGTERM and SIGHUP
    context          global options, and the connection, settings and consoles of a command
    job_ids          job ids as users type them: shortened, or from standard input
    program_files    Blackbird scripts and the options of a submission
    commands         one file a command
    output           what commands print: tables, charts, JSON
    waiting          commands that wait: the progress line, and Ctrl-C
"""

from __future__ import annotations

import sys

from .._version import __version__
from . import signals, streams

_EXTRA = frozenset({"typer", "rich"})
_INTERRUPTED = 130  # errors.ExitCode.INTERRUPTED, which may not be imported yet


def main() -> None:
    """Run this process's command line and exit with its code, an ``errors.ExitCode``."""
    arguments = sys.argv[1:]
    streams.prepare()
    signals.install()
    if arguments == ["--version"]:
        sys.exit(_flushed(0, f"sfjobs {__version__}\n"))  # works without the extra, and at once
    try:
        from .application import run

        code = run(arguments)
    except KeyboardInterrupt:  # before a command starts, or after it has ended
        code = _INTERRUPTED
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRA:
            raise
        sys.exit(f"Error: The command line needs {package}, which is not installed.\n  pip install 'sfjobs[cli]'")
    number = signals.received()
    sys.exit(_flushed(code if number is None else 128 + number))


def _flushed(code: int, text: str = "") -> int:
    """Return the exit code after standard output is flushed: the interpreter would print a traceback if it cannot be."""
    try:
        sys.stdout.write(text)
        streams.flush()
    except OSError as error:
        from .application import report_output

        return report_output(error)
    return code
