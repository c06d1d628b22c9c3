"""
Check a submission and make the job. Older clients send only a circuit, whose header has target, shots and name; newer clients
send target and name in JSON as well.
"""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import anyio.to_thread

from ..devices import TargetDevice, as_run
from ..errors import ApiError, invalid, too_large
from ..limits import Limits
from ..program import Program, ProgramError
from ..records import LANGUAGE, IdempotencyKey, NewJob
from ..simulation import check_time_domain
from .submission import IncomingSubmission

_LARGE_CIRCUIT_CHARACTERS: Final = 64 << 10
_MAX_NAME_CHARACTERS: Final = 255
_FIELDS: Final = frozenset({"name", "target", "circuit", "language"})
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_STATUS_OF_CODE: Final = {"unsupported-circuit": 409}

Parse: TypeAlias = Callable[[str], Program]


class SubmissionValidator:
    """
    Checks submissions in threads, so that the event loop stays free. The threads are few, since they share one interpreter. Large
    circuits, which may take seconds, are checked one at a time, so that small ones pass them.
    """

    def __init__(self, devices: Mapping[str, TargetDevice], parse: Parse, limits: Limits) -> None:
        self._devices = devices
        self._parse = parse
        self._limits = limits
        self._small = anyio.CapacityLimiter(2)
        self._large = anyio.CapacityLimiter(1)

    async def validate(self, account: str, submission: IncomingSubmission) -> NewJob:
        """Return the submitted job. Raises ``ApiError``."""
        fields = submission.fields
        _check_fields(fields, self._limits.circuit)
        limiter = self._small if len(fields["circuit"]) < _LARGE_CIRCUIT_CHARACTERS else self._large
        try:
            return await anyio.to_thread.run_sync(self._check, account, fields, submission.key, limiter=limiter)
        except ProgramError as error:
            raise _program_error(error) from error

    def _check(self, account: str, fields: Mapping[str, Any], key: IdempotencyKey | None) -> NewJob:
        program = self._parse(fields["circuit"])
        device = self._device(fields.get("target"), program)
        device.check(program)
        if program.num_modes > (most := self._limits.modes):
            raise invalid(
                {"circuit": [f"{program.num_modes} modes are more than the {most} that this platform allows."]}
            )
        shots = _shots(program, self._limits.shots)
        if program.type == "tdm":
            check_time_domain(as_run(device.target, program)[0], shots=shots)
        return NewJob(
            id=str(uuid.uuid4()),
            account=account,
            name=fields.get("name") or _name(program),
            target=device.target,
            language=LANGUAGE,
            circuit=fields["circuit"],
            shots=shots,
            seed=_seed(program),
            idempotency_key=key,
        )

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
        raise too_large("The circuit", max_circuit_bytes)


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


def _seed(program: Program) -> int:
    """
    Return the seed of the target line (``seed=``), or a random one. It is stored with the job, so that a repeated run gives the
    same samples.
    """
    seed = program.options.get("seed")
    if isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**63:
        return seed
    return secrets.randbits(63)


def _program_error(error: ProgramError) -> ApiError:
    if error.code == "validation-error":
        return invalid({"circuit": [error.detail]})
    meta = {"line": error.line, "column": error.column, "operation": error.operation}
    known = {name: value for name, value in meta.items() if value}
    return ApiError(_STATUS_OF_CODE.get(error.code, 400), error.code, error.detail, known)
