"""The command line: finds the command, runs it, and turns exceptions into two lines on stderr and an exit code."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, cast

import typer

from .._version import __version__
from ..errors import SFJobsError
from . import streams
from .context import CommandContext, report
from .errors import CommandError, ExitCode, Failure, explain
from .output.json import answer

_COMPLETION_VARIABLE = "_SFJOBS_COMPLETE"
"""Set in the environment by a shell that asks for completions."""

# typer carries a copy of click, whose exceptions are not those of the package click.
_CommandLineError = cast("type[Exception]", typer.BadParameter.__mro__[2])

_COMMANDS = {
    "run": ("run", "run", "Run a Blackbird script and show what was measured."),
    "submit": ("submit", "submit", "Submit Blackbird scripts and print the ids of the jobs."),
    "list": ("list_", "list_jobs", "List jobs, newest first."),
    "show": ("show", "show", "Show one job: status, times, and the platform's messages."),
    "wait": ("wait", "wait", "Wait until jobs have ended."),
    "result": ("result", "result", "Show what a job measured, once it is complete."),
    "circuit": ("circuit", "circuit", "Print the program of a job, exactly as it was submitted."),
    "cancel": ("cancel", "cancel", "Cancel jobs; print id and status of each."),
    "delete": (
        "delete",
        "delete",
        "Delete jobs that have ended, with their programs and results.",
    ),
    "recover": ("recover", "recover", "Look up submissions that never got a response."),
    "group": ("group", "app", "Show and remove groups of jobs."),
    "devices": ("devices", "devices", "List the platform's devices."),
    "device": ("devices", "device", "Show a device: status, uptime, specification, certificate."),
    "serve": ("serve", "serve", "Run a platform until Ctrl-C."),
    "platform": ("platform", "app", "Manage the platform on this machine."),
    "login": ("login", "login", "Check an API key and store it."),
    "ping": ("ping", "ping", "Check that the platform responds and accepts the credentials."),
    "config": ("config", "app", "Show the settings."),
    "cache": ("cache", "app", "Show or remove cached results."),
}
"""By name: the file in ``commands``, the command in that file, and the first sentence of its help."""


def application(words: Sequence[str]) -> typer.Typer:
    """
    Return the commands. Only those named in ``words`` are imported, the others are listed alone, so that ``--help`` takes hardly
    longer than typer's import. Completion, which passes no words, imports all.
    """
    app = typer.Typer(
        name="sfjobs",
        invoke_without_command=True,
        epilog="Exit codes: 0 done, 1 usage or configuration, 2 job failed or cancelled, 3 timed out, 4 authentication,"
        " 5 network or platform, 6 not found, 7 refused, 8 not ready, 9 too late, 10 --then failed, 130 interrupted.",
        # Without rich: importing what draws its boxes around the help takes longer than everything else.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_options)
    for name, (module, attribute, summary) in _COMMANDS.items():
        if name not in words and _COMPLETION_VARIABLE not in os.environ:
            app.command(name, help=summary)(_not_imported)
            continue
        command = getattr(import_module(f".commands.{module}", __package__), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, help=summary, no_args_is_help=True)
        else:
            app.command(name)(command)
    return app


def _not_imported() -> None:
    raise AssertionError("the words of a command line include the name of its command")


def _global_options(
    context: typer.Context,
    profile: Annotated[
        str | None, typer.Option(metavar="NAME", help="Profile of the configuration file to use. [SFJOBS_PROFILE]")
    ] = None,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Platform to use, as in http://127.0.0.1:8080. [SFJOBS_URL]")
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Jobs on photonic quantum computers, and a platform of your own that runs them."""
    context.obj = CommandContext(profile=profile, url=url)
    if version:
        typer.echo(f"sfjobs {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(ExitCode.USAGE)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code, 0 for a command that returns none. Other exceptions are bugs."""
    streams.escape()
    answer.begin(is_wanted="--json" in arguments)
    try:
        code = _run(arguments)
        streams.flush()
    except OSError as error:
        return report_output(error)
    return code


def report_output(error: OSError) -> ExitCode:
    """Report standard output that cannot be written. A reader that has ended, as of ``| head -1``, wants no message."""
    if error.filename is None:
        streams.discard()
    if streams.is_closed_pipe(error):
        return ExitCode.CLOSED_PIPE
    what = f"{error.filename or 'Standard output'} cannot be read or written: {error.strerror or error}."
    failure = Failure(what, "Free some space, or choose another place.", ExitCode.USAGE)
    report(failure)
    answer.fail(failure)
    return failure.code


def _run(arguments: Sequence[str]) -> int:
    failure: Failure | None = None
    try:
        code = application(arguments)(args=list(arguments), prog_name="sfjobs", standalone_mode=False)
    except _CommandLineError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # a group without a command: the message is its help
            typer.echo(str(error), err=answer.is_wanted)
            answer.fail(Failure("A command is missing.", "See `sfjobs --help`.", ExitCode.USAGE))
            return ExitCode.USAGE
        failure = _usage_failure(error)
    except (typer.Abort, KeyboardInterrupt):
        code = ExitCode.INTERRUPTED
    except (SFJobsError, CommandError) as error:
        failure = explain(error)
    except SystemExit as error:  # of typer, after an OSError for a closed pipe
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
    if failure is None:
        if code == ExitCode.INTERRUPTED:
            answer.fail(Failure("Interrupted.", "Run the command again.", ExitCode.INTERRUPTED))
        return int(code or ExitCode.OK)
    report(failure)
    answer.fail(failure)
    return failure.code


def _usage_failure(error: BaseException) -> Failure:
    what = error.format_message() if hasattr(error, "format_message") else str(error)
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "sfjobs"
    return Failure(what, f"See `{command} --help`.", ExitCode.USAGE)
