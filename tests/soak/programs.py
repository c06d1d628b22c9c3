"""
Programs that run in no time, with known results: the number of a program, which is a parameter of its first gate, determines
how it ends and its samples. Imported by the clients, to check results, and by the platform's workers, to make them.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sfjobs.platform.execution.executor import Work
from sfjobs.platform.program import ProgramError, Samples

TARGET = "simulon_gaussian"
RUNNER = f"{__name__}:run"

Kind = Literal["usual", "large", "slow", "failing", "crashing"]
_KINDS: list[Kind] = ["usual", "large", "slow", "failing", "crashing"]
_WEIGHTS = [0.92, 0.05, 0.02, 0.008, 0.002]
_NUMBER = re.compile(r"Rgate\((\d+)\.0\)")


@dataclass(frozen=True, slots=True)
class Program:
    """One program. All else follows from its ``number``."""

    number: int

    @property
    def kind(self) -> Kind:
        """The kind of program. ``crashing`` kills one worker and completes at the second attempt."""
        return random.Random(self.number).choices(_KINDS, _WEIGHTS)[0]

    @property
    def shots(self) -> int:
        return 50_000 if self.kind == "large" else 10 + self.number % 190

    @property
    def name(self) -> str:
        return f"soak_{self.number}"

    @property
    def text(self) -> str:
        head = f"name {self.name}\nversion 1.0\ntarget {TARGET} (shots={self.shots})\n\n"
        return f"{head}Rgate({self.number}.0) | 0\nMeasureFock() | [0, 1, 2, 3]\n"

    @property
    def status(self) -> str:
        """The final status, unless it is cancelled."""
        return "failed" if self.kind == "failing" else "complete"

    def samples(self) -> npt.NDArray[np.uint8]:
        """Return its samples, (shots, 4)."""
        return np.random.default_rng(self.number).integers(0, 7, size=(self.shots, 4), dtype=np.uint8)

    def has_measured(self, samples: npt.NDArray[Any]) -> bool:
        """Return whether these are exactly its samples."""
        return samples.dtype == np.uint8 and np.array_equal(samples, self.samples())


def run(work: Work) -> Samples:
    """Run a program in a worker of the platform, in place of a simulation."""
    found = _NUMBER.search(work.circuit)
    assert found is not None, work.circuit
    program = Program(int(found[1]))
    if program.kind == "failing":
        raise ProgramError("unlucky", f"program {program.number} fails")
    if program.kind == "crashing" and work.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if program.kind == "slow":
        time.sleep(0.3)
    return Samples(program.samples(), {})
