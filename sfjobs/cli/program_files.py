"""Blackbird scripts named on the command line, the options of ``run`` and ``submit``, and their submission."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from .errors import CommandError, printable

if TYPE_CHECKING:
    from .._client.connection import Connection
    from .._jobs.job import Job
    from .._protocol.blackbird_template import Number

TargetOption: TypeAlias = Annotated[
    str | None, typer.Option(metavar="TARGET", help="Device to run on; by default the target in the script.")
]
ShotsOption: TypeAlias = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Number of shots; by default the number in the script.")
]
PriorityOption: TypeAlias = Annotated[
    int | None, typer.Option(metavar="N", min=-100, max=100, help="Among your waiting jobs; higher ones run earlier.")
]
ParamOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="NAME=VALUE", help="Number for {NAME} in the script; may be given many times."),
]
NameOption: TypeAlias = Annotated[str | None, typer.Option(metavar="NAME", help="Name of the job, to find it again.")]


@dataclass(frozen=True, slots=True)
class Script:
    """A program's text, the path or ``-`` that it was read from, and what the options say about its job."""

    source: str
    text: str
    target: str
    shots: int | None
    name: str | None
    params: Mapping[str, Number] | None = None
    priority: int | None = None

    @classmethod
    def read(
        cls,
        source: str,
        *,
        target: str | None,
        shots: int | None,
        name: str | None,
        params: Sequence[str] | None = None,
        priority: int | None = None,
    ) -> Script:
        """Read the script at the path ``source``, or from standard input for ``-``. Raises CommandError."""
        from .._protocol.blackbird_header import read_header
        from .._protocol.targets import resolved

        text = _text(source)
        target = target or read_header(text).target
        if target is None:
            raise CommandError(f"{printable(source)} has no target to run on.", "Give one: --target simulon_gaussian")
        try:
            target = resolved(target)
        except ValueError as error:
            what = f"{target} is a local backend of Strawberry Fields, not a target of a platform."
            raise CommandError(what, "Give one: --target simulon_gaussian") from error
        return cls(source, text, target, shots, name, _numbers(params) if params else None, priority)

    async def submit(self, connection: Connection) -> Job:
        try:
            return await connection.create_job(
                self.target, self.text, shots=self.shots, name=self.name, params=self.params, priority=self.priority
            )
        except ValueError as error:
            remedy = "Give each {name} of the script a number: --param name=value, and no others."
            if "free parameter" not in str(error):
                remedy = "Correct the option named here."
            raise CommandError(f"The job is not valid: {error}", remedy) from error


def _numbers(params: Sequence[str]) -> dict[str, Number]:
    """Return the numbers of ``name=value`` options. Raises CommandError."""
    numbers: dict[str, Number] = {}
    for param in params:
        name, _, value = (part.strip() for part in param.partition("="))
        if name in numbers:
            raise CommandError(f"--param gives {printable(name)} twice.", "Leave one of them out.")
        for kind in (int, float, complex):
            try:
                numbers[name] = kind(value)
                break
            except ValueError:
                continue
        else:
            raise CommandError(f"--param {printable(param)} has no number.", "Give it as in: --param theta=0.5")
    return numbers


def _text(source: str) -> str:
    try:
        content = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        what = f"{source} cannot be read: {error.strerror or error}."
        raise CommandError(what, "Give the path of a Blackbird script, or - for standard input.") from error
    except UnicodeDecodeError as error:
        what = f"{source} is not text in UTF-8 (byte {error.start})."
        raise CommandError(what, "Give a Blackbird script.") from error
