"""Warns of what responses have that cannot be read, once for each kind of field and connection."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from ..config import Secret
from ..models import JobSnapshot
from .masking import masked

logger = logging.getLogger("sfjobs")

_logged_statuses: set[str] = set()

_RECORDS = frozenset({"job", "device"})


class OddFields:
    """The odd fields that one connection has met. ``note`` is a ``Note`` of ``wire``. ``secrets`` are not logged."""

    def __init__(self, secrets: Callable[[], Iterable[Secret]]) -> None:
        self._secrets = secrets
        self._noted: set[str] = set()

    def note_status(self, snapshot: JobSnapshot) -> JobSnapshot:
        """Return the snapshot. Log a status that sfjobs does not know, once per process."""
        word = snapshot.status
        if not word.is_known and word not in _logged_statuses and len(_logged_statuses) < 100:
            _logged_statuses.add(word)
            shown = masked(word.value, self._secrets())
            logger.warning("job %s has the status %r, which sfjobs does not know: the wait goes on", snapshot.id, shown)
        return snapshot

    def note(self, field: str, reason: str) -> None:
        """Warn of a field, or of a whole record, unless it was noted before."""
        if field in self._noted:
            return
        self._noted.add(field)
        what_follows = "the record is left out" if field in _RECORDS else "it is None here"
        logger.warning(
            "the platform sent a %s that cannot be read, and %s; this is logged once: %s",
            field,
            what_follows,
            masked(reason, self._secrets()),
        )
