"""How far the programs of a group are, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from .._journal import State
from ..models import JobStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupProgress:
    """
    How far the programs of a group are, each counted once, at its latest attempt. ``in_doubt``: sent, and there is no answer;
    ``unfinished``: the platform has the job, and it was not seen to end; ``given_up``: never to be sent.
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
        """Whether there is nothing to be sent, settled or waited for."""
        return not (self.added or self.in_doubt or self.unfinished)


def standing(state: State, status: JobStatus | None) -> str:
    """The field of ``GroupProgress`` that counts a program whose submission and whose job, if there is one, are so."""
    if state == State.SUBMITTED:
        return status.value if status is not None and status.is_final else "unfinished"
    return _STANDINGS[state]


_STANDINGS = {
    State.ADDED: "added",
    State.UNSENT: "added",
    State.OPEN: "in_doubt",
    State.REFUSED: "refused",
    State.GIVEN_UP: "given_up",
}
