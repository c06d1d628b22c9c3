"""``sfjobs run``: a script in, samples out. Starts a platform for itself when none is configured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import WaitTimeoutError
from ..context import CommandContext, stderr
from ..errors import CommandError, ExitCode
from ..output.json import about_job, write_json
from ..output.results import OutputOption, PlotOption, about_result, check_files, show_result, write_files
from ..program_files import read

if TYPE_CHECKING:
    from ..._jobs.job import Job
    from ...config import Settings
    from ...models import JSONValue

_EMBEDDED_POLL_INTERVAL = 0.05
"""Seconds. Nobody else is on the platform that a run starts for itself, so it may be asked often."""


@dataclass(frozen=True, slots=True)
class RunLocation:
    """Where the job runs; ``is_ours`` when that platform lives no longer than this command."""

    settings: Settings
    is_ours: bool


def run(
    context: typer.Context,
    program: Annotated[
        str, typer.Argument(metavar="PROGRAM", help="Blackbird script, or - to read it from standard input.")
    ],
    *,
    target: Annotated[
        str | None, typer.Option(metavar="TARGET", help="Device to run on; by default the one that the script names.")
    ] = None,
    shots: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="How often to measure; by default as often as the script says."),
    ] = None,
    output: OutputOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
    plot: PlotOption = None,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0, help="How long to wait for the job; it goes on afterwards."),
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the job, to find it again.")] = None,
) -> int:
    """
    Run a Blackbird script and show what was measured.

    Without any setting it starts a platform on this machine for the time of the run.

    Ctrl-C leaves the job running; a second one cancels it.
    """
    script = read(program, target)
    check_files(output, plot)

    import anyio

    from ..waiting.progress import RunSession, interrupted

    scope = CommandContext.of(context)
    with _place(scope) as place:
        pursuit = RunSession(place.settings, target=script.target, program=script.text, shots=shots, name=name)
        result = None
        try:
            result = anyio.run(pursuit.follow, timeout)
        except KeyboardInterrupt:
            return interrupted(pursuit, scope, ends_with_us=place.is_ours)
        except WaitTimeoutError as error:
            if not place.is_ours:
                raise
            what = f"Job {error.job_id} had not ended after {timeout:g} s; it ends with the platform that this run started."
            raise CommandError(what, "Give --timeout a larger number, or none.", ExitCode.TIMEOUT) from error
        finally:
            if as_json and result is None:
                _print_json(pursuit.job, place, {})
    write_files(result, output, plot)
    if as_json:
        _print_json(pursuit.job, place, about_result(result, output, plot))
    else:
        show_result(result, script.target)
    return ExitCode.OK


@contextmanager
def _place(scope: CommandContext) -> Iterator[RunLocation]:
    settings = scope.settings_if_any()
    if settings is not None:
        yield RunLocation(settings, is_ours=False)
        return
    try:
        from ...platform.server.serving import serving
    except ModuleNotFoundError as error:
        raise CommandError(
            f"No platform is configured, and {error.name}, which a platform here would need, is not installed.",
            "pip install 'sfjobs[platform]', or set SFJOBS_URL and SFJOBS_API_KEY.",
        ) from error
    stderr().print("No platform is configured: starting one on this machine for this run.", soft_wrap=True)
    with serving() as platform:
        from ...config import Settings

        settings = Settings.load(url=platform.url, api_key=platform.api_key, poll_interval_min=_EMBEDDED_POLL_INTERVAL)
        yield RunLocation(settings, is_ours=True)


def _print_json(job: Job | None, place: RunLocation, more: Mapping[str, JSONValue]) -> None:
    if job is not None:
        write_json({**about_job(job), "platform": place.settings.url, **more})
