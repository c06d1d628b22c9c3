"""
The check of one program: its text, its device and limits, and by ``preparation`` whether the simulation can run it. Pure
computation; ``check_pool`` decides where and when it runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self, TypeAlias

from ..devices import TargetDevice, as_run
from ..errors import ApiError, invalid
from ..limits import Limits
from ..program import Program, ProgramError
from .preparation import SHORT_SECONDS, Preparation

_CHEAP_CHARACTERS: Final = 4096
_MAY_GROW: Final = re.compile(r"\bfor\b|\{")
"""Loops, and parameters of which one array may have thousands: with them a short text may take long to read."""

_STATUS_OF_CODE: Final = {"unsupported-circuit": 409, "simulation-limit": 409, "simulator-missing": 409}

Parse: TypeAlias = Callable[[str], Program]


@dataclass(frozen=True, slots=True)
class CheckedProgram:
    """
    What a job needs of a checked program. ``seed`` is None for a random one. ``is_complete`` is false if the simulation has yet
    to check it.
    """

    name: str | None
    target: str
    shots: int
    seed: int | None
    is_complete: bool = True

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        return cls(**fields)

    def to_json(self) -> dict[str, object]:
        return asdict(self)


class ProgramReader:
    """Reads and checks programs for the ``devices``. Safe to call from several threads."""

    def __init__(
        self, devices: Mapping[str, TargetDevice], parse: Parse, limits: Limits, preparation: Preparation | None
    ) -> None:
        self._devices = devices
        self._parse = parse
        self._limits = limits
        self.preparation = preparation

    def read(self, circuit: str, target: str | None) -> tuple[CheckedProgram, Program, float]:
        """
        Check all but the simulation. Return also the program as it is simulated and the seconds that ``prepare`` would take, 0.0
        if it is not needed. Raises ``ApiError``.
        """
        try:
            program = self._parse(circuit)
            device = self._device(target, program)
            device.check(program)
            if program.num_modes > (most := self._limits.modes):
                message = f"{program.num_modes} modes are more than the {most} that this platform allows."
                raise invalid({"circuit": [message]})
            shots = _shots(program, self._limits.shots)
            checked = CheckedProgram(_name(program), device.target, shots, _seed(program))
            program = as_run(device.target, program)[0]
            seconds = 0.0 if self.preparation is None else self.preparation.seconds_for(device, program, shots)
        except ProgramError as error:
            raise program_error(error) from error
        return checked, program, seconds

    def prepare(self, program: Program, shots: int) -> None:
        """Check by the simulation. Raises ``ApiError``."""
        assert self.preparation is not None
        try:
            self.preparation.check(program, shots)
        except ProgramError as error:
            raise program_error(error) from error

    def check_if_cheap(self, circuit: str, target: str | None) -> CheckedProgram | None:
        """
        Check a program completely if it is cheap: a few milliseconds, known from the text before it is read and from the estimate
        afterwards. None if it is not cheap. Raises ``ApiError``.
        """
        if not is_cheap_text(circuit):
            return None
        checked, program, seconds = self.read(circuit, target)
        if seconds > SHORT_SECONDS:
            return None
        if seconds:
            self.prepare(program, checked.shots)
        return checked

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


def is_cheap_text(circuit: str) -> bool:
    """Return whether the time to read a text is bounded by its length, and short."""
    return len(circuit) <= _CHEAP_CHARACTERS and not _MAY_GROW.search(circuit)


def program_error(error: ProgramError) -> ApiError:
    """Return the response to a program that was refused."""
    if error.code == "validation-error":
        return invalid({"circuit": [error.detail]})
    meta = {"line": error.line, "column": error.column, "operation": error.operation}
    known = {name: value for name, value in meta.items() if value}
    return ApiError(_STATUS_OF_CODE.get(error.code, 400), error.code, error.detail, known)


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
