"""
The command ``sfjobs``: one file a command group, put together in ``application``. What a command needs beyond typer it imports
when it runs, so that ``--help`` and completion stay quick.
"""

from __future__ import annotations

import sys

from .._version import __version__

_EXTRA = frozenset({"typer", "rich"})
_INTERRUPTED = 130  # failures.ExitCode.INTERRUPTED, which may not have been imported by then


def main() -> None:
    """Runs the command line of this process and exits with its code (see ``failures.ExitCode``)."""
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        print(f"sfjobs {__version__}")  # noqa: T201 - works without the extra, and at once
        return
    try:
        from .application import run

        code = run(arguments)
    except KeyboardInterrupt:  # before a command begins, or after it has ended
        code = _INTERRUPTED
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRA:
            raise
        sys.exit(f"Error: The command line needs {package}, which is not installed.\n  pip install 'sfjobs[cli]'")
    sys.exit(code)
