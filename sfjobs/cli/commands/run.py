"""``sfjobs run``: submit a script, wait and show the samples; on a platform of its own when none is configured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import WaitTimeoutError
from ..context import CommandContext, JSONOption, limit
from ..errors import CommandError, ExitCode
from ..output.json import about_job, answer, write_json
from ..output.results import OutputOption, PlotOption, about_result, check_files, show_result, write_files
from ..program_files import NameOption, ParamOption, Script, ShotsOption, TargetOption

if TYPE_CHECKING:
    from ...config import Settings

_EMBEDDED_POLL_INTERVAL_SECONDS = 0.05
"""For the platform that a run starts for itself: it has no other clients."""


def run(
    context: typer.Context,
    program: Annotated[
        str, typer.Argument(metavar="PROGRAM", help="Blackbird script, or - to read it from standard input.")
    ],
    *,
    target: TargetOption = None,
    shots: ShotsOption = None,
    output: OutputOption = None,
    as_json: JSONOption = False,
    plot: PlotOption = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", min=0, callback=limit, help="How long it may take in all; the job goes on afterwards."
        ),
    ] = None,
    name: NameOption = None,
    param: ParamOption = None,
) -> int:
    """
    Run a Blackbird script and show what was measured.

    When no platform is configured, one is started on this machine for the time of the run.

    Ctrl-C leaves the job running; a second one cancels it.
    """
    script = Script.read(program, target=target, shots=shots, name=name, params=param)
    check_files(output, plot)

    import anyio

    from ..waiting.session import RunSession

    command = CommandContext.of(context)
    with _platform(command) as (settings, is_embedded):
        session = RunSession(settings, script, is_embedded=is_embedded)
        try:
            result = anyio.run(session.run, timeout)
        except KeyboardInterrupt:
            return session.interrupted(command)
        except WaitTimeoutError as error:
            if not is_embedded:
                raise
            what = f"Job {error.job_id} had not ended after {timeout:g} s; it ends with the platform that this run started."
            raise CommandError(what, "Give --timeout a larger number, or none.", ExitCode.TIMEOUT) from error
        finally:
            if session.job is not None:
                answer.so_far = {**about_job(session.job), "platform": settings.url}
    write_files(result, output, plot)
    if as_json:
        write_json({**answer.so_far, **about_result(result, output, plot)})
    else:
        show_result(result, script.target)
    return ExitCode.OK


@contextmanager
def _platform(command: CommandContext) -> Iterator[tuple[Settings, bool]]:
    """Yield the settings, and whether they are those of a platform that ends with this block."""
    settings = command.settings_if_any()
    if settings is not None:
        yield settings, False
        return
    try:
        from ...platform.server.serving import serving
    except ModuleNotFoundError as error:
        raise CommandError(
            f"No platform is configured, and {error.name}, which a platform here would need, is not installed.",
            "pip install 'sfjobs[platform]', or set SFJOBS_URL and SFJOBS_API_KEY.",
        ) from error
    typer.echo("No platform is configured: starting one on this machine for this run.", err=True)
    with serving() as platform:
        from ...config import Settings

        key = platform.api_key
        yield Settings.load(url=platform.url, api_key=key, poll_interval_min=_EMBEDDED_POLL_INTERVAL_SECONDS), True
