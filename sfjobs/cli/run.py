"""``sfjobs run``: a script in, samples out. Starts a platform for itself when none is configured."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..config import Settings
from ..errors import WaitTimeoutError
from ..models import JSONValue
from ..programs import read_header
from .failures import CommandError, ExitCode, printable
from .scope import Scope, answers, remarks

if TYPE_CHECKING:
    from ..job import Job
    from ..results import Result
    from .waiting import Pursuit

_PICTURES = (".png", ".svg", ".pdf")
_EMBEDDED_POLL_INTERVAL = 0.05
"""Seconds. Nobody else is on the platform that a run starts for itself, so it may be asked often."""


@dataclass(frozen=True, slots=True)
class Place:
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
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the samples to a .npz or .npy file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the result to a .png, .svg or .pdf file.")
    ] = None,
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
    text = _read_program(program)
    header = read_header(text)
    target = target or header.target
    if target is None:
        raise CommandError(f"{printable(program)} names no target to run on.", "Give one: --target simulon_gaussian")
    _check_files(output, plot)

    import anyio

    from .waiting import Pursuit, interrupted

    with _place(Scope.of(context)) as place:
        pursuit = Pursuit(place.settings, target=target, program=text, shots=shots, name=name)
        result = None
        try:
            result = anyio.run(pursuit.follow, timeout)
        except KeyboardInterrupt:
            return interrupted(pursuit, ends_with_us=place.is_ours)
        except WaitTimeoutError as error:
            if not place.is_ours:
                raise
            what = f"Job {error.job_id} had not ended after {timeout:g} s; it ends with the platform that this run started."
            raise CommandError(what, "Give --timeout a larger number, or none.", ExitCode.TIMEOUT) from error
        finally:
            if as_json and result is None:
                _print_json(pursuit.job, place, {})
    _show(pursuit, place, result, output=output, plot=plot, as_json=as_json)
    return ExitCode.OK


def _read_program(program: str) -> str:
    try:
        content = sys.stdin.buffer.read() if program == "-" else Path(program).read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        what = f"{program} cannot be read: {error.strerror or error}."
        raise CommandError(what, "Give the path of a Blackbird script, or - for standard input.") from error
    except UnicodeDecodeError as error:
        raise CommandError(
            f"{program} is not text in UTF-8 (byte {error.start}).", "Give a Blackbird script."
        ) from error


def _check_files(output: Path | None, plot: Path | None) -> None:
    """What can be known to fail is refused before the job costs anything."""
    for option, path, suffixes in (("--output", output, (".npz", ".npy")), ("--plot", plot, _PICTURES)):
        if path is None:
            continue
        if path.suffix not in suffixes:
            raise CommandError(
                f"{option} {path} has no suffix that says what to write.", f"Use {' or '.join(suffixes)}."
            )
        if not path.parent.is_dir():
            raise CommandError(
                f"{option} {path} is in a folder that is not there.", f"Make the folder {path.parent} first."
            )
    if plot is not None and importlib.util.find_spec("matplotlib") is None:
        raise CommandError("--plot needs matplotlib, which is not installed.", "pip install 'sfjobs[plot]'")


@contextmanager
def _place(scope: Scope) -> Iterator[Place]:
    settings = scope.settings_if_any()
    if settings is not None:
        yield Place(settings, is_ours=False)
        return
    try:
        from ..platform.serving import serving
    except ModuleNotFoundError as error:
        raise CommandError(
            f"No platform is configured, and {error.name}, which a platform here would need, is not installed.",
            "pip install 'sfjobs[platform]', or set SFJOBS_URL and SFJOBS_API_KEY.",
        ) from error
    remarks().print("No platform is configured: starting one on this machine for this run.", soft_wrap=True)
    with serving() as platform:
        settings = Settings.load(url=platform.url, api_key=platform.api_key, poll_interval_min=_EMBEDDED_POLL_INTERVAL)
        yield Place(settings, is_ours=True)


def _show(
    pursuit: Pursuit, place: Place, result: Result, *, output: Path | None, plot: Path | None, as_json: bool
) -> None:
    from .pictures import headline, show
    from .summary import summarize

    # Files first: whoever reads our stdout may stop reading.
    if output is not None:
        _write("samples", output, result.save)
    if plot is not None:
        _write("picture", plot, result.plot)
    summary = summarize(result)
    if as_json:
        files: dict[str, JSONValue] = {"output": _text(output), "plot": _text(plot)}
        _print_json(pursuit.job, place, {"shots": summary.shots, "result": summary.as_json(), **files})
        return
    console = answers()
    console.print(headline(summary, pursuit.target), style="bold", soft_wrap=True)
    console.print()
    show(console, summary)


def _write(what: str, path: Path, write: Callable[[Path], object]) -> None:
    try:
        write(path)
    except (OSError, ValueError) as error:
        raise CommandError(f"The {what} cannot be written to {path}: {error}", "Write them elsewhere.") from error
    remarks().print(f"Wrote the {what} to {path}.", soft_wrap=True)


def _print_json(job: Job | None, place: Place, more: Mapping[str, JSONValue]) -> None:
    if job is None:
        return
    about: dict[str, JSONValue] = {
        "id": job.id,
        "status": job.status.value,
        "target": job.target,
        "name": job.name,
        "platform": place.settings.url,
        "running_time": job.running_time,
        "meta": dict(job.meta),
    }
    sys.stdout.write(json.dumps({**about, **more}) + "\n")
    sys.stdout.flush()


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
