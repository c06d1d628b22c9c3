"""What one connection writes into its journal. Writes nothing where the settings turn the journal off."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from hashlib import blake2b

from ..config import Settings
from ..errors import JournalError
from .journal import Journal
from .location import JournalLocation
from .rows import Intent, SubmissionOutcome


class JournalSession:
    """
    The journal of one connection. Opened with the first submission. ``clock`` returns how far the platform's clock is ahead of
    this machine's, in seconds, or None as long as that is unknown.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float | None] = lambda: None) -> None:
        self.url = settings.url
        self.account = _account(settings)
        self._settings = settings
        self._clock = clock
        self._journal: Journal | None = None
        self._process: int | None = None

    @property
    def journal(self) -> Journal | None:
        """The journal of this process, or None where the settings turn it off."""
        # A forked child has none of its parent's threads.
        if self._process != os.getpid():
            location = JournalLocation.of(self._settings)
            self._journal = None if location is None else Journal.at(location)
            self._process = os.getpid()
        return self._journal

    async def open(self, intents: Sequence[Intent]) -> None:
        """
        Write the intents to disk. Also after a cancellation they have to be closed.

        Raises:
            JournalError: they cannot be written.
        """
        if self.journal is not None:
            await self.journal.open(intents, self._clock())

    def close(self, outcomes: Iterable[SubmissionOutcome]) -> None:
        if self.journal is not None:
            self.journal.close(outcomes, self._clock())

    def note_keys_honoured(self) -> None:
        if self.journal is not None:
            self.journal.note_keys_honoured(self.url, time.time() + (self._clock() or 0.0))

    async def flush(self) -> None:
        """Wait until all earlier writes are on disk or have failed."""
        if self._journal is not None:
            with suppress(JournalError):  # which was logged
                await self._journal.flush()


def _account(settings: Settings) -> str:
    """
    Return sixteen bits that tell the API keys of one platform apart, so that nothing is sent again for another account. Of 65 536
    guesses at a key they leave one. An access token changes every few minutes and identifies nothing.
    """
    if settings.api_key is None:
        return ""
    return blake2b(settings.api_key.reveal().encode(), key=settings.url.encode()[-64:], digest_size=2).hexdigest()
