"""
A time-domain device: the published boson sampler of three loops, with few bright pulses. The state is that of the program that
Strawberry Fields compiles with the losses of the device's certificate.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import strawberryfields as sf
from strawberryfields import ops
from strawberryfields.tdm import get_mode_indices, utils

from sfjobs.platform.devices import build_devices
from tests.interop.published.comparison import check_samples
from tests.interop.published.exact import Measured, Reading
from tests.interop.published.rows import check_of, published

DELAYS = [1, 6, 36]
PULSES = 48


def device(target: str) -> Any:
    found = build_devices()[target]
    return sf.Device(found.specification, found.certificate)


def compiled(program: Any, target: str) -> Any:
    """Return the program with the losses of the device, as their engine runs it."""
    compiler = sf.compilers.compiler_db[target]
    compiler.reset_circuit()  # which keeps the layout of the first device
    result = program.compile(device=device(target), realistic_loss=True)
    compiler.reset_circuit()
    return result


def three_loops(arguments: list[Any]) -> Any:
    modes, registers = get_mode_indices(DELAYS)
    program = sf.TDMProgram(registers)
    with program.context(*arguments) as (p, q):
        ops.Sgate(p[0]) | q[modes[0]]
        for loop in range(3):
            ops.Rgate(p[2 * loop + 1]) | q[modes[loop]]
            ops.BSgate(p[2 * loop + 2], np.pi / 2) | (q[modes[loop + 1]], q[modes[loop]])
        ops.MeasureFock() | q[0]
    return program


def few_pulses() -> Any:
    """Four bright pulses of 48 that meet in all three loops."""
    random = np.random.default_rng(8)
    borealis = device("borealis")
    gates: dict[str, Any] = {"Sgate": [0.0] * PULSES, "loops": {}}
    for loop, opened in enumerate(([1, 7], [7], [37, 36])):
        angles = [0.0] * PULSES
        for pulse in opened:
            angles[pulse] = 0.8 - 0.1 * loop
        gates["loops"][loop] = {"Rgate": random.uniform(0, 6, PULSES).tolist(), "BSgate": angles}
    arguments = utils.full_compile(gates, borealis, return_list=False)
    level = borealis.certificate["squeezing_parameters_mean"]["high"]
    bright = [level if pulse in {0, 1, 7, 36} else 0.0 for pulse in range(PULSES)]
    arguments["Sgate"] = bright + [0.0] * arguments["crop"]
    return three_loops(list(utils.to_args_list(arguments, borealis)))


@published("few pulses on borealis", target="borealis", shots=4000)
def borealis() -> Any:
    return few_pulses()


@check_of("few pulses on borealis")
def check_borealis(samples: Any) -> None:
    program = compiled(few_pulses(), "borealis")
    program.space_unroll()
    state = sf.Engine("gaussian").run(program, shots=None, crop=True).state
    cov, modes = state.cov(), state.num_modes
    counts = samples.reshape(len(samples), -1)[:, -modes:]
    bright = [mode for mode in range(modes) if cov[mode, mode] + cov[mode + modes, mode + modes] > 2 + 1e-9]
    assert len(bright) >= 4
    assert not np.delete(counts, bright, axis=1).any()
    detectors = tuple(Reading(mode, "MeasureFock") for mode in bright)
    check_samples(Measured(state.means(), cov, detectors), counts[:, bright])
