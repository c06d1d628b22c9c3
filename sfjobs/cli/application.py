"""Puts the commands together, and is the one place where an exception becomes two lines on stderr and an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, cast

import typer

from .. import __version__
from ..errors import SFJobsError
from . import ping, serve
from . import run as run_command
from .failures import CommandError, ExitCode, Failure, explain, printable
from .scope import Scope, answers, remarks

# Some releases of typer carry a copy of click, whose exceptions are not those of the package click.
_CommandLineError = cast("type[Exception]", typer.BadParameter.__mro__[2])

app = typer.Typer(
    name="sfjobs",
    invoke_without_command=True,
    epilog="Exit codes: 0 done, 1 usage or configuration, 2 job failed or cancelled, 3 timed out, 4 authentication,"
    " 5 network or platform, 130 interrupted.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run_command.run)
app.command("serve")(serve.serve)
app.command("ping")(ping.ping)


@app.callback()
def _global_options(
    context: typer.Context,
    profile: Annotated[
        str | None, typer.Option(metavar="NAME", help="Profile of the configuration file to use. [SFJOBS_PROFILE]")
    ] = None,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Platform to talk to, as in http://127.0.0.1:8080. [SFJOBS_URL]")
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> int:
    """Jobs on photonic quantum computers, and a platform of your own that runs them."""
    context.obj = Scope(profile=profile, url=url)
    if version:
        answers().print(f"sfjobs {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        answers().print(context.get_help())
        raise typer.Exit(ExitCode.USAGE)
    return ExitCode.OK


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code. Bugs come out as the exceptions that they are."""
    try:
        code = app(args=list(arguments), prog_name="sfjobs", standalone_mode=False)
    except _CommandLineError as error:
        failure = _usage_failure(error)
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except (SFJobsError, CommandError) as error:
        failure = explain(error)
    else:
        return int(code or ExitCode.OK)
    report(failure)
    return failure.code


def report(failure: Failure) -> None:
    """The two lines, unwrapped: a terminal wraps by itself, and a log keeps its lines."""
    console = remarks()
    console.print(f"Error: {printable(failure.what)}", style="red", soft_wrap=True)
    console.print(f"  {printable(failure.remedy)}", soft_wrap=True)


def _usage_failure(error: BaseException) -> Failure:
    what = error.format_message() if hasattr(error, "format_message") else str(error)
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "sfjobs"
    return Failure(what, f"See `{command} --help`.", ExitCode.USAGE)
