"""What ``run`` and ``result`` do with a result: write it to files, draw it, print it as tables or as JSON."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from ..context import stdout
from ..errors import CommandError

if TYPE_CHECKING:
    from ...results import Result

_ARRAY_SUFFIXES = (".npz", ".npy", ".csv")
_PICTURE_SUFFIXES = (".png", ".svg", ".pdf")

OutputOption: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the samples to a .npz, .npy or .csv file.")
]
PlotOption: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Draw the result to a .png, .svg or .pdf file.")
]


def check_files(output: Path | None, plot: Path | None) -> None:
    """Raise CommandError for files that cannot be written, before the job costs anything."""
    for option, path, suffixes in (("--output", output, _ARRAY_SUFFIXES), ("--plot", plot, _PICTURE_SUFFIXES)):
        if path is None:
            continue
        if path.suffix not in suffixes:
            raise CommandError(f"{option} {path} has no suffix of a known format.", f"Use {' or '.join(suffixes)}.")
        if not path.parent.is_dir():
            what = f"{option} {path} is in a folder that does not exist."
            raise CommandError(what, f"Make the folder {path.parent} first.")
    if plot is not None and importlib.util.find_spec("matplotlib") is None:
        raise CommandError("--plot needs matplotlib, which is not installed.", "pip install 'sfjobs[plot]'")


def write_files(result: Result, output: Path | None, plot: Path | None) -> None:
    """Write the files. Before anything is printed: the reader of stdout may close it."""
    if output is not None:
        _write("samples", output, result.save)
    if plot is not None:
        _write("picture", plot, result.plot)


def show_result(result: Result, target: str | None) -> None:
    """Print a result for people."""
    from .charts import headline, show
    from .summary import summarize

    summary = summarize(result)
    console = stdout()
    console.print(f"{headline(summary, target)}\n", style="bold", soft_wrap=True)
    show(console, summary)


def about_result(result: Result, output: Path | None, plot: Path | None) -> dict[str, object]:
    """Return a result for programs."""
    from .summary import summarize

    summary = summarize(result)
    return {"shots": summary.shots, "result": summary.as_json(), "output": output, "plot": plot}


def _write(what: str, path: Path, write: Callable[[Path], object]) -> None:
    try:
        write(path)
    except (OSError, ValueError) as error:
        what_failed = f"The {what} cannot be written to {path}: {error}"
        raise CommandError(what_failed, "Give the path of another file.") from error
    typer.echo(f"Wrote the {what} to {path}.", err=True)
