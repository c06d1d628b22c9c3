"""What all commands share: the global options, a connection by the settings, the two consoles and the option ``--json``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeAlias, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from .._client.connection import Connection
    from ..config import Settings
    from ..errors import SFJobsError
    from .errors import CommandError, Failure

T = TypeVar("T")

JSONOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@dataclass(frozen=True, slots=True)
class CommandContext:
    """The global options."""

    profile: str | None = None
    url: str | None = None

    @classmethod
    def of(cls, context: typer.Context) -> CommandContext:
        """Return the global options of the command line that typer is running."""
        found = context.find_object(cls)
        assert found is not None, "the application's callback sets it before any command runs"
        return found

    def settings(self) -> Settings:
        from ..config import Settings

        return _with_cache(Settings.load(self.profile, url=self.url))

    def settings_if_any(self) -> Settings | None:
        """Return None when no platform is configured: some commands need none."""
        from ..config import Settings

        found = Settings.find(self.profile, url=self.url)
        return None if found is None else _with_cache(found)

    def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run ``work`` with a connection to the platform, in a new event loop."""
        return run_with_connection(self.settings(), work)

    def command_line(self, *words: str) -> str:
        """Return the command ``sfjobs words`` with the global options of this one."""
        import shlex

        options = [*(["--profile", self.profile] if self.profile else []), *(["--url", self.url] if self.url else [])]
        return shlex.join(["sfjobs", *options, *words])


def run_with_connection(settings: Settings, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Run ``work`` with a connection, in a new event loop."""
    import anyio

    from .._client.connection import Connection

    async def main() -> T:
        async with Connection(settings=settings) as connection:
            return await work(connection)

    return anyio.run(main)


def _with_cache(settings: Settings) -> Settings:
    """Turn the result cache on, which the library leaves off: several commands in a row often need the same result."""
    return settings.with_defaults(result_cache=True)


def stdout() -> Console:
    """Return a console for what a command is run for; colours on a terminal only."""
    from rich.console import Console

    return Console(highlight=False, emoji=False, markup=False)


def stderr() -> Console:
    """Return a console for progress, notes and errors."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, emoji=False, markup=False)


def report(failure: Failure) -> None:
    """Print the two lines of a failure on stderr, unwrapped: a terminal wraps by itself, and a log keeps its lines."""
    from .errors import printable

    console = stderr()
    console.print(f"Error: {printable(failure.what)}", style="red", soft_wrap=True)
    console.print(f"  {printable(failure.remedy)}", soft_wrap=True)


def raise_first(errors: Sequence[SFJobsError | CommandError]) -> None:
    """Raise the first of several errors, if there are any, after reporting the others."""
    from .errors import explain

    for error in errors[1:]:
        report(explain(error))
    if errors:
        raise errors[0]


def finite(value: float) -> float:
    """Check the number of an option, for typer: ``nan`` and ``inf`` are numbers, too."""
    import math

    if not math.isfinite(value):
        raise typer.BadParameter(f"{value:g} is not a number of seconds.")
    return value


def limit(value: float | None) -> float | None:
    """Check a time limit, for typer: ``inf`` is none."""
    import math

    return None if value is None or value == math.inf else finite(value)


def can_move(console: Console) -> bool:
    """Return whether the console can update lines in place. A terminal with ``TERM=dumb`` gets lines, as a log does."""
    return console.is_terminal and not console.is_dumb_terminal


def can_draw(console: Console) -> bool:
    """Return whether the console's encoding has block characters and kets."""
    return console.encoding.lower().replace("-", "").startswith("utf")
