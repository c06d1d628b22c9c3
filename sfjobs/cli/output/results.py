"""What ``run`` and ``result`` do with a result: write it to files, draw it, show it or print it as JSON."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from ..context import stderr, stdout
from ..errors import CommandError

if TYPE_CHECKING:
    from ...models import JSONValue
    from ...results import Result

_ARRAYS = (".npz", ".npy", ".csv")
_PICTURES = (".png", ".svg", ".pdf")

OutputOption: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the samples to a .npz, .npy or .csv file.")
]
PlotOption: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Draw the result to a .png, .svg or .pdf file.")
]


def check_files(output: Path | None, plot: Path | None) -> None:
    """What can be known to fail is refused before the job costs anything."""
    for option, path, suffixes in (("--output", output, _ARRAYS), ("--plot", plot, _PICTURES)):
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


def write_files(result: Result, output: Path | None, plot: Path | None) -> None:
    """Before anything is printed: whoever reads our stdout may stop reading."""
    if output is not None:
        _write("samples", output, result.save)
    if plot is not None:
        _write("picture", plot, result.plot)


def show_result(result: Result, target: str | None) -> None:
    """For people."""
    from .charts import headline, show
    from .summary import summarize

    summary = summarize(result)
    console = stdout()
    console.print(headline(summary, target), style="bold", soft_wrap=True)
    console.print()
    show(console, summary)


def about_result(result: Result, output: Path | None, plot: Path | None) -> dict[str, JSONValue]:
    """For other programs."""
    from .summary import summarize

    summary = summarize(result)
    files: dict[str, JSONValue] = {"output": _text(output), "plot": _text(plot)}
    return {"shots": summary.shots, "result": summary.as_json(), **files}


def _write(what: str, path: Path, write: Callable[[Path], object]) -> None:
    try:
        write(path)
    except (OSError, ValueError) as error:
        raise CommandError(f"The {what} cannot be written to {path}: {error}", "Write them elsewhere.") from error
    stderr().print(f"Wrote the {what} to {path}.", soft_wrap=True)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
