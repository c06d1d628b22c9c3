"""What stands before the command and holds for all of them: which platform is meant, how it is asked, and where to write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from .._client.connection import Connection
    from ..config import Settings
    from .errors import Failure

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CommandContext:
    """The global options."""

    profile: str | None = None
    url: str | None = None

    @classmethod
    def of(cls, context: typer.Context) -> CommandContext:
        scope = context.find_object(cls)
        assert scope is not None, "the application's callback sets it before any command runs"
        return scope

    def settings(self) -> Settings:
        from ..config import Settings

        return _with_cache(Settings.load(self.profile, url=self.url))

    def settings_if_any(self) -> Settings | None:
        """None when no platform is configured anywhere, which some commands can do without."""
        from ..config import Settings

        found = Settings.find(self.profile, url=self.url)
        return None if found is None else _with_cache(found)

    def ask(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Runs ``work`` in an event loop of its own, with a connection to the platform."""
        import anyio

        from .._client.connection import Connection

        settings = self.settings()

        async def main() -> T:
            async with Connection(settings=settings) as connection:
                return await work(connection)

        return anyio.run(main)

    def command(self, *words: str) -> str:
        """A line to type that means the same platform as this one does."""
        import shlex

        options = [*(["--profile", self.profile] if self.profile else []), *(["--url", self.url] if self.url else [])]
        return shlex.join(["sfjobs", *options, *words])


def _with_cache(settings: Settings) -> Settings:
    """Commands follow one another and often want the same result: what the library does on request, they do by default."""
    return settings.with_defaults(result_cache=True)


def stdout() -> Console:
    """Where the outcome of a command goes: stdout, without colours unless it is a terminal."""
    from rich.console import Console

    return Console(highlight=False, emoji=False, markup=False)


def stderr() -> Console:
    """Where everything said on the way goes: stderr."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, emoji=False, markup=False)


def report(failure: Failure) -> None:
    """The two lines, unwrapped: a terminal wraps by itself, and a log keeps its lines."""
    from .errors import printable

    console = stderr()
    console.print(f"Error: {printable(failure.what)}", style="red", soft_wrap=True)
    console.print(f"  {printable(failure.remedy)}", soft_wrap=True)


def can_draw(console: Console) -> bool:
    """Whether block characters and kets can be written there."""
    return console.encoding.lower().replace("-", "").startswith("utf")
