"""What one connection writes into the journal of its settings: nothing where they want none. ``submitting`` brings orders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from hashlib import blake2b

from ..config import Settings
from ..errors import JournalError, RequestFailedError, ResponseError
from .journal import Journal
from .location import JournalLocation
from .rows import Intent, State, SubmissionOutcome

_NOTHING_WAS_DONE = frozenset({401, 429, 503})
_NOT_ABOUT_THE_PROGRAM = frozenset({401, 408, 425, 429})


class JournalSession:
    """The journal of one connection's settings, opened with the first submission."""

    def __init__(self, settings: Settings) -> None:
        self.url = settings.url
        self.account = _account(settings)
        self._settings = settings
        self._journal: Journal | None = None
        self._looked_in: int | None = None

    @property
    def journal(self) -> Journal | None:
        """None where the settings want none."""
        # A forked child has none of its parent's threads.
        if self._looked_in != os.getpid():
            place = JournalLocation.of(self._settings)
            self._journal = None if place is None else Journal.at(place)
            self._looked_in = os.getpid()
        return self._journal

    async def open(self, intents: Sequence[Intent]) -> None:
        """Writes down what is about to be sent: JournalError when that fails. Cancelled or not, it has to be closed."""
        if self.journal is not None:
            await self.journal.open(intents)

    def close(self, fates: Iterable[SubmissionOutcome]) -> None:
        if self.journal is not None:
            self.journal.close(fates)

    def note_keys(self) -> None:
        if self.journal is not None:
            self.journal.note_keys(self.url)

    async def flush(self) -> None:
        """Returns when all that was written down is on disk, or cannot be."""
        if self._journal is not None:
            with suppress(JournalError):  # which is in the log
                await self._journal.flush()


def fate_after(error: BaseException, key: str, *, was_out: bool, in_doubt: bool) -> SubmissionOutcome:
    """
    What an error says about the submission that it ended. ``was_out``: some of the request may have left, ``in_doubt``: an
    earlier try may have been taken.
    """
    if isinstance(error, ResponseError):
        status = error.status_code
        if 400 <= status < 500 and status not in _NOT_ABOUT_THE_PROGRAM and not _is_about_the_key(error):
            return SubmissionOutcome(key=key, state=State.REFUSED, reason=str(error))
        was_out = status not in _NOTHING_WAS_DONE
    elif isinstance(error, RequestFailedError):
        was_out = error.sent
    state = State.OPEN if was_out or in_doubt else State.UNSENT
    return SubmissionOutcome(key=key, state=state, reason=str(error) or type(error).__name__)


def _is_about_the_key(error: ResponseError) -> bool:
    """Whether there is an earlier submission with this key, and the answer is not about what became of that one."""
    return error.code.startswith("idempotency-key") or (error.status_code == 409 and error.retry_after is not None)


def _account(settings: Settings) -> str:
    """
    Sixteen bits that tell the keys of one platform apart, so that nothing is sent again for another account: of 65 536 guesses
    at a key, they leave one. A token is new every few minutes and tells nothing.
    """
    if settings.api_key is None:
        return ""
    return blake2b(settings.api_key.reveal().encode(), key=settings.url.encode()[-64:], digest_size=2).hexdigest()
