"""What stands before the command and holds for all of them: which platform is meant, and where to write."""

from __future__ import annotations

from dataclasses import dataclass

import typer
from rich.console import Console

from ..config import Settings


@dataclass(frozen=True, slots=True)
class Scope:
    """The global options."""

    profile: str | None = None
    url: str | None = None

    @classmethod
    def of(cls, context: typer.Context) -> Scope:
        scope = context.find_object(cls)
        assert scope is not None, "the application's callback sets it before any command runs"
        return scope

    def settings(self) -> Settings:
        return Settings.load(self.profile, url=self.url)

    def settings_if_any(self) -> Settings | None:
        """None when no platform is configured anywhere, which some commands can do without."""
        return Settings.find(self.profile, url=self.url)


def answers() -> Console:
    """Where the outcome of a command goes: stdout, without colours unless it is a terminal."""
    return Console(highlight=False, emoji=False, markup=False)


def remarks() -> Console:
    """Where everything said on the way goes: stderr."""
    return Console(stderr=True, highlight=False, emoji=False, markup=False)


def can_draw(console: Console) -> bool:
    """Whether block characters and kets can be written there."""
    return console.encoding.lower().replace("-", "").startswith("utf")
