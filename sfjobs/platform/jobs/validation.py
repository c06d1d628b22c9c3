"""
Check a submission and make the job: its fields, its text, its device, and by ``preparation`` whether the simulation can run it.
Older clients send only a circuit, whose header has target, shots and name; newer clients send target and name in JSON as well.
"""

from __future__ import annotations

import math
import re
import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import anyio.to_thread

from ..devices import TargetDevice, as_run
from ..errors import ApiError, invalid, too_large
from ..limits import Limits
from ..program import Program, ProgramError
from ..records import LANGUAGE, NewJob
from .preparation import Preparation
from .submission import IncomingSubmission

_LARGE_CIRCUIT_CHARACTERS: Final = 64 << 10
_MAX_NAME_CHARACTERS: Final = 255
_FIELDS: Final = frozenset({"name", "target", "circuit", "language"})
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_STATUS_OF_CODE: Final = {"unsupported-circuit": 409, "simulation-limit": 409, "simulator-missing": 409}
_MAX_KNOWN_CIRCUITS: Final = 256
_MAX_KNOWN_CHARACTERS: Final = 16 << 10

Parse: TypeAlias = Callable[[str], Program]


@dataclass(frozen=True, slots=True)
class _Checked:
    """What a job needs of a checked program. ``seed`` is None for a random one, ``pending`` a program yet to prepare."""

    name: str | None
    target: str
    shots: int
    seed: int | None
    pending: Program | None = None


class SubmissionValidator:
    """
    Checks submissions in threads, so that the event loop stays free. The threads are few, since they share one interpreter. Large
    circuits, which may take seconds, are checked one at a time, so that small ones pass them. Small texts that were accepted are
    remembered, since many jobs may have one program.
    """

    def __init__(
        self,
        devices: Mapping[str, TargetDevice],
        parse: Parse,
        limits: Limits,
        preparation: Preparation | None = None,
    ) -> None:
        self._devices = devices
        self._parse = parse
        self._limits = limits
        self._preparation = preparation
        self._small = anyio.CapacityLimiter(2)
        self._large = anyio.CapacityLimiter(1)
        self._known: dict[tuple[str, str | None], _Checked] = {}

    async def validate(
        self, account: str, submission: IncomingSubmission, *, prepare_until: float = math.inf
    ) -> NewJob:
        """
        Return the submitted job. A program whose preparation takes long is accepted without it if that could not begin before
        ``prepare_until``, in the time of the event loop. Raises ``ApiError``.
        """
        fields = submission.fields
        _check_fields(fields, self._limits.circuit)
        try:
            checked = await self._check(fields["circuit"], fields.get("target") or None, prepare_until)
        except ProgramError as error:
            raise _program_error(error) from error
        return NewJob(
            id=str(uuid.uuid4()),
            account=account,
            name=fields.get("name") or checked.name,
            target=checked.target,
            language=LANGUAGE,
            circuit=fields["circuit"],
            shots=checked.shots,
            seed=secrets.randbits(63) if checked.seed is None else checked.seed,
            idempotency_key=submission.key,
        )

    async def _check(self, circuit: str, target: str | None, prepare_until: float) -> _Checked:
        known = self._known.get((circuit, target))
        if known is not None:
            return known
        limiter = self._small if len(circuit) < _LARGE_CIRCUIT_CHARACTERS else self._large
        checked = await anyio.to_thread.run_sync(self._read, circuit, target, limiter=limiter)
        if checked.pending is not None and self._preparation is not None:
            async with self._large:
                if anyio.current_time() > prepare_until:
                    return checked
                await anyio.to_thread.run_sync(self._preparation.check, checked.pending, checked.shots)
        if len(circuit) <= _MAX_KNOWN_CHARACTERS:
            if len(self._known) >= _MAX_KNOWN_CIRCUITS:
                del self._known[next(iter(self._known))]
            self._known[circuit, target] = replace(checked, pending=None)
        return checked

    def _read(self, circuit: str, target: str | None) -> _Checked:
        program = self._parse(circuit)
        device = self._device(target, program)
        device.check(program)
        if program.num_modes > (most := self._limits.modes):
            raise invalid(
                {"circuit": [f"{program.num_modes} modes are more than the {most} that this platform allows."]}
            )
        shots = _shots(program, self._limits.shots)
        program = as_run(device.target, program)[0]
        is_prepared = self._preparation is None or self._preparation.check_if_short(device, program, shots)
        return _Checked(_name(program), device.target, shots, _seed(program), None if is_prepared else program)

    def _device(self, target: str | None, program: Program) -> TargetDevice:
        name = target or program.target
        if name is None:
            raise invalid({"target": ["Missing data for required field."]})
        if target and program.target and target != program.target:
            message = f"The job's target is '{target}', but its circuit is written for '{program.target}'."
            raise invalid({"target": [message]})
        if name not in self._devices:
            raise invalid({"target": [f"There is no target '{name}'. The targets are: {', '.join(self._devices)}."]})
        return self._devices[name]


def _check_fields(body: Mapping[str, Any], max_circuit_bytes: int) -> None:
    errors: dict[str, list[str]] = {name: ["Unknown field."] for name in body if name not in _FIELDS}
    if "circuit" not in body:
        errors["circuit"] = ["Missing data for required field."]
    elif not isinstance(body["circuit"], str):
        errors["circuit"] = ["Not a valid string."]
    for name in ("name", "target", "language"):
        if not isinstance(body.get(name), str | None):
            errors[name] = ["Not a valid string."]
    if "language" not in errors and body.get("language") not in {None, "", LANGUAGE}:
        errors["language"] = [f"Must be one of: {LANGUAGE}."]
    if "name" not in errors and len(body.get("name") or "") > _MAX_NAME_CHARACTERS:
        errors["name"] = [f"Longer than maximum length {_MAX_NAME_CHARACTERS}."]
    for name in ("circuit", "name"):
        if name not in errors and _SURROGATE.search(body.get(name) or ""):
            # JSON can express half of a surrogate pair, which no database or file can store.
            errors[name] = ["Not valid Unicode text."]
    if errors:
        raise invalid(errors)
    if len(body["circuit"].encode()) > max_circuit_bytes:
        raise too_large("The circuit", max_circuit_bytes, "--max-program")


def _name(program: Program) -> str | None:
    """Return the name of the program. Strawberry Fields writes ``name None`` for a program without one."""
    return None if program.name in {None, "None"} else program.name


def _shots(program: Program, max_shots: int) -> int:
    shots = program.shots
    if shots is None:
        message = "The target line must say how many shots, as in: target simulon_gaussian (shots=100)."
        raise invalid({"circuit": [message]})
    if not 1 <= shots <= max_shots:
        raise invalid({"circuit": [f"shots must be between 1 and {max_shots}, not {shots}."]})
    return shots


def _seed(program: Program) -> int | None:
    """Return the seed of the target line (``seed=``). Stored with the job, it makes a repeated run give the same samples."""
    seed = program.options.get("seed")
    if isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**63:
        return seed
    return None


def _program_error(error: ProgramError) -> ApiError:
    if error.code == "validation-error":
        return invalid({"circuit": [error.detail]})
    meta = {"line": error.line, "column": error.column, "operation": error.operation}
    known = {name: value for name, value in meta.items() if value}
    return ApiError(_STATUS_OF_CODE.get(error.code, 400), error.code, error.detail, known)
