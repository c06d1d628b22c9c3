"""
Check a submission and make the job: its fields here, its program by ``program_check``. Older clients send only a circuit, whose
header has target, shots and name; newer clients send target and name in JSON as well.
"""

from __future__ import annotations

import math
import secrets
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from ..errors import invalid, too_large
from ..limits import Limits
from ..records import LANGUAGE, MAX_PRIORITY, NewJob
from .program_check import CheckedProgram
from .submission import IncomingSubmission

_MAX_NAME_CHARACTERS: Final = 255
_FIELDS: Final = frozenset({"name", "target", "circuit", "language", "priority"})
_MAX_KNOWN_CIRCUITS: Final = 256
_MAX_KNOWN_CHARACTERS: Final = 16 << 10


class ProgramChecks(Protocol):
    """Where programs are checked: ``check_pool``."""

    async def check(
        self, account: str, circuit: str, target: str | None, *, prepare_until: float = math.inf
    ) -> CheckedProgram:
        """
        Return the checked program. It is not prepared if its turn came after ``prepare_until``, in the time of the event loop.
        Raises ``ApiError``.
        """
        ...


class SubmissionValidator:
    """
    Checks submissions. Small programs that were accepted are remembered for their account, since many jobs may have one program.
    """

    def __init__(self, checks: ProgramChecks, limits: Limits) -> None:
        self._checks = checks
        self._limits = limits
        self._known: dict[tuple[str, str, str | None], CheckedProgram] = {}

    async def validate(
        self,
        account: str,
        submission: IncomingSubmission,
        *,
        prepare_until: float = math.inf,
        on_check: Callable[[], None] = lambda: None,
    ) -> NewJob:
        """
        Return the submitted job. ``on_check`` is called before its program is checked, which may take long. Raises ``ApiError``.
        """
        fields = submission.fields
        _check_fields(fields, self._limits.circuit)
        circuit, target = fields["circuit"], fields.get("target") or None
        checked = self._known.get((account, circuit, target))
        if checked is None:
            on_check()
            checked = await self._checks.check(account, circuit, target, prepare_until=prepare_until)
            self._remember(account, circuit, target, checked)
        return NewJob(
            id=str(uuid.uuid4()),
            account=account,
            name=fields.get("name") or checked.name,
            target=checked.target,
            language=LANGUAGE,
            circuit=circuit,
            shots=checked.shots,
            seed=secrets.randbits(63) if checked.seed is None else checked.seed,
            idempotency_key=submission.key,
            priority=fields.get("priority") or 0,
        )

    def _remember(self, account: str, circuit: str, target: str | None, checked: CheckedProgram) -> None:
        if checked.is_complete and len(circuit) <= _MAX_KNOWN_CHARACTERS:
            if len(self._known) >= _MAX_KNOWN_CIRCUITS:
                del self._known[next(iter(self._known))]
            self._known[account, circuit, target] = checked


def _check_fields(body: Mapping[str, Any], max_circuit_bytes: int) -> None:
    errors: dict[str, list[str]] = {name: ["Unknown field."] for name in body if name not in _FIELDS}
    if "circuit" not in body:
        errors["circuit"] = ["Missing data for required field."]
    elif not isinstance(body["circuit"], str):
        errors["circuit"] = ["Not a valid string."]
    for name in ("name", "target", "language"):
        if not isinstance(body.get(name), str | None):
            errors[name] = ["Not a valid string."]
    priority = body.get("priority")
    if not isinstance(priority, int | None) or isinstance(priority, bool) or abs(priority or 0) > MAX_PRIORITY:
        errors["priority"] = [f"Must be a whole number from -{MAX_PRIORITY} to {MAX_PRIORITY}."]
    if "language" not in errors and body.get("language") not in {None, "", LANGUAGE}:
        errors["language"] = [f"Must be one of: {LANGUAGE}."]
    if "name" not in errors and len(body.get("name") or "") > _MAX_NAME_CHARACTERS:
        errors["name"] = [f"Longer than maximum length {_MAX_NAME_CHARACTERS}."]
    sizes = {name: _size(body.get(name) or "") for name in ("circuit", "name") if name not in errors}
    errors |= {name: ["Not valid Unicode text."] for name, size in sizes.items() if size is None}
    if errors:
        raise invalid(errors)
    if (sizes["circuit"] or 0) > max_circuit_bytes:
        raise too_large("The circuit", max_circuit_bytes, "--max-program")


def _size(text: str) -> int | None:
    """Return the bytes of a text, None if it has half of a surrogate pair: JSON has these, and no database or file can."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return None
