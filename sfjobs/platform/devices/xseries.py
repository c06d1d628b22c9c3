"""
The layout of the X-series devices: two-mode squeezers, the same interferometer on signal and idler modes, photon counting.
``layout`` checks programs against it.
"""

from __future__ import annotations

import math

from .layout import Allowed

_FULL_TURN = 2 * math.pi


def xseries_layout(target: str, pairs: int) -> str:
    """Return the layout of a device with ``pairs`` squeezers: signal modes 0 to ``pairs - 1``, then as many idler modes."""
    modes = 2 * pairs
    lines = [f"name template_{pairs}x2_X{modes}", "version 1.0", f"target {target} (shots=1)", ""]
    lines += [f"S2gate({{squeezing_amplitude_{k}}}, 0.0) | [{k}, {k + pairs}]" for k in range(pairs)]
    for half in (0, pairs):
        for index, mode in enumerate(_mesh(pairs)):
            first = half + mode
            lines.append(f"MZgate({{phase_{2 * index}}}, {{phase_{2 * index + 1}}}) | [{first}, {first + 1}]")
    lines += [f"Rgate({{final_phase_{mode}}}) | [{mode}]" for mode in range(modes)]
    lines += [f"MeasureFock() | [{', '.join(map(str, range(modes)))}]", ""]
    return "\n".join(lines)


def xseries_parameters(pairs: int) -> dict[str, Allowed]:
    """Return the allowed values of each parameter of the layout: the first is the default."""
    phase: Allowed = [0, [0, _FULL_TURN]]
    allowed: dict[str, Allowed] = {f"squeezing_amplitude_{k}": [0, 1] for k in range(pairs)}
    allowed |= {f"phase_{k}": phase for k in range(2 * len(_mesh(pairs)))}
    return allowed | {f"final_phase_{k}": phase for k in range(2 * pairs)}


def _mesh(pairs: int) -> list[int]:
    """Return the first mode of each Mach-Zehnder interferometer of one half, in order: even and odd neighbours alternate."""
    return [mode for layer in range(pairs) for mode in range(layer % 2, pairs - 1, 2)]
