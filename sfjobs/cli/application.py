"""Puts the commands together, and is the one place where an exception becomes two lines on stderr and an exit code."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, cast

import typer

from .._version import __version__
from ..errors import SFJobsError
from .context import CommandContext, report
from .errors import CommandError, ExitCode, Failure, explain

_COMPLETION = "_SFJOBS_COMPLETE"
"""The environment variable by which a shell asks what could come next."""

# Some releases of typer carry a copy of click, whose exceptions are not those of the package click.
_CommandLineError = cast("type[Exception]", typer.BadParameter.__mro__[2])

_COMMANDS = {
    "run": ("commands.run", "run", "Run a Blackbird script and show what was measured."),
    "submit": ("commands.submit", "submit", "Submit Blackbird scripts and print the ids of the jobs."),
    "list": ("commands.list_", "list_jobs", "List jobs, newest first."),
    "show": ("commands.show", "show", "Show one job: status, times, and what the platform says of it."),
    "wait": ("commands.wait", "wait", "Wait until jobs have ended."),
    "result": ("commands.result", "result", "Show what a job measured, once it is complete."),
    "circuit": ("commands.circuit", "circuit", "Print the program of a job, exactly as it was submitted."),
    "cancel": ("commands.cancel", "cancel", "Cancel jobs; print id and status of each."),
    "recover": ("commands.recover", "recover", "Find out what became of submissions that have no answer."),
    "group": ("commands.group", "app", "Look at groups of jobs."),
    "devices": ("commands.devices", "devices", "List the platform's devices."),
    "device": ("commands.devices", "device", "Show a device: status, uptime, specification, certificate."),
    "serve": ("commands.serve", "serve", "Run a platform until Ctrl-C."),
    "platform": ("commands.platform", "app", "Look after the platform of this machine."),
    "login": ("commands.login", "login", "Ask for an API key, try it and keep it."),
    "ping": ("commands.ping", "ping", "Ask the platform whether it answers and accepts the credentials."),
    "config": ("commands.config", "app", "Look at the settings."),
    "cache": ("commands.cache", "app", "Look at the results kept from before, or remove them."),
}
"""By name: the file, what in it is the command, and the first sentence of its help."""


def application(words: Sequence[str]) -> typer.Typer:
    """
    The commands. Only those that ``words`` name are loaded; of the others there is what the list of commands says, so that
    ``--help`` takes hardly longer than typer itself. Completion has words of its own and loads all.
    """
    app = typer.Typer(
        name="sfjobs",
        invoke_without_command=True,
        epilog="Exit codes: 0 done, 1 usage or configuration, 2 job failed or cancelled, 3 timed out, 4 authentication,"
        " 5 network or platform, 130 interrupted.",
        # Without rich: what it would draw around the help takes longer to load than all the rest.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_options)
    for name, (module, attribute, summary) in _COMMANDS.items():
        if name not in words and _COMPLETION not in os.environ:
            app.command(name, help=summary)(_not_loaded)
            continue
        command = getattr(import_module(f".{module}", __package__), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _not_loaded() -> None:
    raise AssertionError("a command that runs is among the words of its command line")


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
    context.obj = CommandContext(profile=profile, url=url)
    if version:
        typer.echo(f"sfjobs {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(ExitCode.USAGE)
    return ExitCode.OK


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code. Bugs come out as the exceptions that they are."""
    try:
        code = application(arguments)(args=list(arguments), prog_name="sfjobs", standalone_mode=False)
    except _CommandLineError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # of a group: its message is the help
            typer.echo(str(error))
            return ExitCode.USAGE
        failure = _usage_failure(error)
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except (SFJobsError, CommandError) as error:
        failure = explain(error)
    else:
        return int(code or ExitCode.OK)
    report(failure)
    return failure.code


def _usage_failure(error: BaseException) -> Failure:
    what = error.format_message() if hasattr(error, "format_message") else str(error)
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "sfjobs"
    return Failure(what, f"See `{command} --help`.", ExitCode.USAGE)
