"""Counts of the programs of a group, by how far they are."""

from __future__ import annotations

from dataclasses import dataclass

from .._journal import State
from ..models import JobStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupProgress:
    """
    Counts of the programs of a group, each at its latest attempt.

    ``added``: not sent yet. ``in_doubt``: sent, without a response. ``unfinished``: the platform has the job, and its end is
    not known. ``given_up``: never to be sent.
    """

    programs: int = 0
    added: int = 0
    in_doubt: int = 0
    refused: int = 0
    given_up: int = 0
    unfinished: int = 0
    complete: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def is_over(self) -> bool:
        """Whether no program has to be sent, settled or waited for."""
        return not (self.added or self.in_doubt or self.unfinished)


_FIELDS = {
    State.ADDED: "added",
    State.UNSENT: "added",
    State.OPEN: "in_doubt",
    State.REFUSED: "refused",
    State.GIVEN_UP: "given_up",
}


def field_of(state: State, status: JobStatus | None) -> str:
    """Return the field of ``GroupProgress`` that counts a submission in this state, whose job has this status."""
    if state == State.SUBMITTED:
        return status.value if status is not None and status.is_final else "unfinished"
    return _FIELDS[state]
