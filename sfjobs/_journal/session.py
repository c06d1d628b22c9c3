"""
What one connection writes into its journal. Writes nothing where the settings turn the journal off, or leave it to the machine,
which has no place for it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from hashlib import blake2b

from ..config import Settings
from ..errors import JournalError
from .journal import Journal
from .location import JournalLocation, is_without_a_place
from .rows import Intent, SubmissionOutcome

logger = logging.getLogger("sfjobs")


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
        self._has_place = True  # as far as the latest submission knows

    @property
    def journal(self) -> Journal | None:
        """
        The journal of this process, or None where the settings turn it off.

        Raises:
            JournalError: the user's home folder is unknown.
        """
        # A forked child has none of its parent's threads.
        if self._process != os.getpid():
            location = JournalLocation.of(self._settings)
            self._journal = None if location is None else Journal.at(location)
            self._process = os.getpid()
        return self._journal

    async def open(self, intents: Sequence[Intent], *, is_required: bool = True) -> bool:
        """
        Write the intents to disk, and return whether they are there. Also after a cancellation they have to be closed.

        Raises:
            JournalError: they cannot be written, and ``is_required`` or the settings say that they must be.
        """
        try:
            if self.journal is None:
                return False
            await self.journal.open(intents, self._clock())
        except JournalError as error:
            if is_required or not self.goes_on_without(error):
                raise
            self._has_place = False
            return False
        self._has_place = True
        return True

    def goes_on_without(self, error: JournalError) -> bool:
        """Return whether the settings allow to go on without a journal after this error; say so once a process."""
        if not JournalLocation.is_optional(self._settings) or not is_without_a_place(error):
            return False
        reason, _, remedy = str(error).replace(" Nothing was sent.", "").partition("\n")
        message = "%s Submissions go on, but after a crash nothing finds those without a response. %s"
        # setdefault, so that of two threads one logs the warning.
        is_first = _warned.setdefault(os.getpid(), (token := object())) is token
        logger.log(logging.WARNING if is_first else logging.DEBUG, message, reason, remedy)
        return True

    def has_nothing(self, error: JournalError) -> bool:
        """Return whether a journal with this error holds no submission, because the machine never had a place for it."""
        if self._journal is not None and self._journal.exists:
            return False
        return self.goes_on_without(error)

    def close(self, outcomes: Iterable[SubmissionOutcome]) -> None:
        if self._journal is not None:
            self._journal.close(outcomes, self._clock())

    def note_keys_honoured(self) -> None:
        if self._has_place and self.journal is not None:
            self.journal.note_keys_honoured(self.url, time.time() + (self._clock() or 0.0))

    async def flush(self) -> None:
        """Wait until all earlier writes are on disk or have failed."""
        if self._journal is not None:
            with suppress(JournalError):  # which was logged
                await self._journal.flush()


_warned: dict[int, object] = {}
"""The processes that have warned: this one, and its parents after a fork."""


def _account(settings: Settings) -> str:
    """
    Return sixteen bits that tell the API keys of one platform apart, so that nothing is sent again for another account. Of 65 536
    guesses at a key they leave one. An access token changes every few minutes and identifies nothing.
    """
    if settings.api_key is None:
        return ""
    return blake2b(settings.api_key.reveal().encode(), key=settings.url.encode()[-64:], digest_size=2).hexdigest()
