"""
The check of a program by the simulation before its job is accepted, so that a program that cannot run is refused at once. No
sample is drawn; the worker checks again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from ..devices import TargetDevice
from ..program import Program, ProgramError
from ..simulation import preparation_seconds, prepare

SHORT_SECONDS: Final = 0.03
"""
A preparation up to this estimate follows the check of the text at once, in this process: up to 8 modes and 25 gates, which take
4 ms. Dearer ones are done in processes that can be stopped.
"""

MAX_SECONDS: Final = 5.0
"""
A program with a longer estimate is accepted without preparation: those of time bins that are unrolled to more than 480 modes or
30 000 operations. Programs without time bins have fewer, as the parser allows.
"""

_MAX_XSERIES_SHOTS: Final = 1_000_000
"""Of any program of an X12; the check of the layout knows the squeezing and the modes."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Preparation:
    """The simulation's check of programs. ``prepare`` raises ``ProgramError``, ``seconds`` estimates how long it takes."""

    prepare: Callable[[Program, int], object] = prepare
    seconds: Callable[[Program], float] = preparation_seconds

    def seconds_for(self, device: TargetDevice, program: Program, shots: int) -> float:
        """Return the estimate of the time that ``check`` takes, 0.0 if the program needs none or would take too long."""
        if device.engine == "xseries" and shots <= _MAX_XSERIES_SHOTS:
            return 0.0
        seconds = self.seconds(program)
        if seconds > MAX_SECONDS:
            _log.info("a program is accepted unprepared, since that would take about %.0f s", seconds)
            return 0.0
        return max(seconds, 1e-9)

    def check(self, program: Program, shots: int) -> None:
        """Raise ``ProgramError`` for a program that cannot run. Other failures are logged and left to the worker."""
        try:
            with np.errstate(all="ignore"):
                self.prepare(program, shots)
        except ProgramError:
            raise
        except Exception:  # noqa: BLE001 - logged; a defect, or no memory, must not refuse a program
            _log.exception("a program could not be prepared; its job is accepted, and the worker decides")
