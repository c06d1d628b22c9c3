"""
From the body of ``POST /jobs`` to a job that may be run, or to the reason why not. Both generations of clients are served:
those that send only a circuit, whose header then says target, shots and name, and those that say target and name in JSON.
"""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import anyio.to_thread

from ..errors import ApiError, invalid, too_large
from ..limits import Limits
from ..program import Program, ProgramError
from ..records import LANGUAGE, NewJob

_LARGE: Final = 64 << 10
_LONGEST_NAME: Final = 255
_FIELDS: Final = frozenset({"name", "target", "circuit", "language"})
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_STATUS_OF_CODE: Final = {"unsupported-circuit": 409}

Parse: TypeAlias = Callable[[str], Program]


class SubmissionTarget(Protocol):
    """What a submission asks of a device, and what the scheduler will."""

    @property
    def target(self) -> str: ...
    @property
    def engine(self) -> str: ...
    @property
    def status(self) -> str: ...

    def check(self, program: Program) -> None:
        """Raise ``ProgramError`` if the device cannot run the program."""


@dataclass(frozen=True, slots=True)
class _Submission:
    circuit: str
    target: str | None
    name: str | None
    language: str


class SubmissionValidator:
    """
    Checks submissions. Parsing goes on in threads, so that the event loop stays free for others; few of them, since they share
    one interpreter; and one large circuit, which may take seconds, at a time, so that small ones pass it.
    """

    def __init__(self, targets: Mapping[str, SubmissionTarget], parse: Parse, limits: Limits) -> None:
        self._targets = targets
        self._parse = parse
        self._limits = limits
        self._small = anyio.CapacityLimiter(2)
        self._large = anyio.CapacityLimiter(1)

    async def job(self, account: str, body: Mapping[str, Any]) -> NewJob:
        """The job that the body asks for. Raises ``ApiError``."""
        submission = _read(body, self._limits.circuit)
        limiter = self._small if len(submission.circuit) < _LARGE else self._large
        try:
            return await anyio.to_thread.run_sync(self._check, account, submission, limiter=limiter)
        except ProgramError as error:
            raise _refused(error) from error

    def _check(self, account: str, submission: _Submission) -> NewJob:
        program = self._parse(submission.circuit)
        target = self._target(submission, program)
        target.check(program)
        if program.num_modes > (most := self._limits.modes):
            raise invalid(
                {"circuit": [f"{program.num_modes} modes are more than the {most} that this platform allows."]}
            )
        return NewJob(
            id=str(uuid.uuid4()),
            account=account,
            name=submission.name or _name(program),
            target=target.target,
            language=submission.language,
            circuit=submission.circuit,
            shots=_shots(program, self._limits.shots),
            seed=_seed(program),
        )

    def _target(self, submission: _Submission, program: Program) -> SubmissionTarget:
        name = submission.target or program.target
        if name is None:
            raise invalid({"target": ["Missing data for required field."]})
        if submission.target and program.target and submission.target != program.target:
            message = f"The job's target is '{submission.target}', but its circuit is written for '{program.target}'."
            raise invalid({"target": [message]})
        if name not in self._targets:
            raise invalid({"target": [f"There is no target '{name}'. The targets are: {', '.join(self._targets)}."]})
        return self._targets[name]


def _read(body: Mapping[str, Any], longest_circuit: int) -> _Submission:
    errors: dict[str, list[str]] = {name: ["Unknown field."] for name in body if name not in _FIELDS}
    if "circuit" not in body:
        errors["circuit"] = ["Missing data for required field."]
    elif not isinstance(body["circuit"], str):
        errors["circuit"] = ["Not a valid string."]
    for name in ("name", "target", "language"):
        if not isinstance(body.get(name), str | None):
            errors[name] = ["Not a valid string."]
    language = body.get("language") or LANGUAGE
    if "language" not in errors and language != LANGUAGE:
        errors["language"] = [f"Must be one of: {LANGUAGE}."]
    if "name" not in errors and len(body.get("name") or "") > _LONGEST_NAME:
        errors["name"] = [f"Longer than maximum length {_LONGEST_NAME}."]
    for name in ("circuit", "name"):
        if name not in errors and not _is_unicode(body.get(name) or ""):
            errors[name] = ["Not valid Unicode text."]
    if errors:
        raise invalid(errors)
    circuit = body["circuit"]
    if len(circuit.encode()) > longest_circuit:
        raise too_large("The circuit", longest_circuit)
    return _Submission(circuit, body.get("target"), body.get("name"), language)


def _is_unicode(text: str) -> bool:
    """JSON can spell half of a surrogate pair, which no database or file can hold."""
    return not _SURROGATE.search(text)


def _name(program: Program) -> str | None:
    """The script's name; Strawberry Fields writes ``name None`` for a program without one."""
    return None if program.name in {None, "None"} else program.name


def _shots(program: Program, most: int) -> int:
    shots = program.shots
    if shots is None:
        raise invalid(
            {"circuit": ["The target line must say how many shots, as in: target simulon_gaussian (shots=100)."]}
        )
    if not 1 <= shots <= most:
        raise invalid({"circuit": [f"shots must be between 1 and {most}, not {shots}."]})
    return shots


def _seed(program: Program) -> int:
    """
    The seed that the target line gives as ``seed=``, or a random one. It is stored with the job, so that a run that was lost
    and is repeated gives the same samples.
    """
    seed = program.options.get("seed")
    if isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**63:
        return seed
    return secrets.randbits(63)


def _refused(error: ProgramError) -> ApiError:
    if error.code == "validation-error":
        return invalid({"circuit": [error.detail]})
    meta: dict[str, object] = {}
    if error.line:
        meta["line"] = error.line
    if error.column:
        meta["column"] = error.column
    if error.operation:
        meta["operation"] = error.operation
    return ApiError(_STATUS_OF_CODE.get(error.code, 400), error.code, error.detail, meta)
