"""
The devices of the embedded platform: specification, certificate and uptime for clients, and the check of a program at submission.
X-series devices compare a program with their layout; simulators accept Gaussian circuits. Nothing runs here.

    gaussian    the check of the simulator targets
    xseries     the layout of the X-series devices and the check against it
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import ClassVar, Literal, TypeAlias

from ...models import JSONValue
from ..blackbird import parse
from ..limits import SIMULATED_MODES
from ..program import Program
from .gaussian import check_gaussian
from .xseries import Template, check_against, xseries_layout, xseries_parameters

Engine: TypeAlias = Literal["gaussian", "xseries", "never", "always_fails"]

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ALWAYS = MappingProxyType({day: ["00:00:00+00:00", "23:59:59+00:00"] for day in _WEEKDAYS})
_CREATED_AT = "2026-01-05T09:00:00+00:00"


@dataclass(frozen=True, kw_only=True)
class TargetDevice:
    """
    One target. ``specification`` and ``certificate`` are the JSON bodies for clients. ``expected_uptime`` maps lower-case English
    weekdays to ``[up, down]`` in ISO 8601. ``engine`` is what runs a job of this target. ``check`` raises ``ProgramError``
    ``unsupported-circuit``, with line and gate, for a program that this device cannot run.
    """

    target: str
    engine: Engine
    specification: Mapping[str, JSONValue]
    certificate: Mapping[str, JSONValue]
    check: Callable[[Program], None]
    status: Literal["online", "offline"] = "online"
    expected_uptime: ClassVar[Mapping[str, list[str]]] = _ALWAYS
    created_at: ClassVar[str] = _CREATED_AT

    def detail(self) -> dict[str, JSONValue]:
        """Return the body of ``GET /devices/{target}``."""
        return {
            "target": self.target,
            "status": self.status,
            "expected_uptime": {day: list(times) for day, times in self.expected_uptime.items()},
            "created_at": self.created_at,
        }


def build_devices(*, test_targets: bool = False) -> Mapping[str, TargetDevice]:
    """
    Return all targets by name. ``test_targets`` adds two for tests of clients: the jobs of ``never`` stay queued for ever, those
    of ``always_fails`` fail. Otherwise they behave as the simulator does.
    """
    devices = [
        _simulator("simulon_gaussian", "gaussian"),
        _xseries("X8_01", pairs=4),
        _xseries("X12_01", pairs=6),
        _xseries("X12_02", pairs=6),
    ]
    if test_targets:
        devices += [_simulator("never", "never"), _simulator("always_fails", "always_fails")]
    return MappingProxyType({device.target: device for device in devices})


def _simulator(target: str, engine: Engine) -> TargetDevice:
    # Strawberry Fields 0.18 to 0.20 reads `max`, later versions read the flat keys.
    by_measurement: dict[str, JSONValue] = dict.fromkeys(("pnr", "homodyne", "heterodyne"), SIMULATED_MODES)
    flat: dict[str, JSONValue] = {f"{name}_max": SIMULATED_MODES for name in by_measurement}
    return TargetDevice(
        target=target,
        engine=engine,
        specification=_specification(target, "", {**flat, "max": by_measurement}, "gaussian", {}),
        certificate={"target": target, "finished_at": _CREATED_AT, "simulated": True},
        check=partial(check_gaussian, target=target, max_modes=SIMULATED_MODES),
    )


def _xseries(target: str, *, pairs: int) -> TargetDevice:
    layout = xseries_layout(target, pairs)
    parameters = xseries_parameters(pairs)
    program = parse(layout)
    # An ideal device: its identity circuit is the identity. The keys are those of the first X8's certificates.
    certificate: dict[str, JSONValue] = {
        "target": target,
        "finished_at": _CREATED_AT,
        "identity_unitary": {},
        "anti_identity_unitary": {},
        "shots_per_benchmark": 0,
        "laser_wavelength_meters": 1.55e-06,
        "simulated": True,
    }
    return TargetDevice(
        target=target,
        engine="xseries",
        specification=_specification(target, layout, 2 * pairs, "Xunitary", parameters),
        certificate=certificate,
        check=partial(check_against, Template(program.operations, program.num_modes, parameters), target=target),
    )


def _specification(
    target: str, layout: str, modes: JSONValue, compiler: str, gate_parameters: Mapping[str, JSONValue]
) -> dict[str, JSONValue]:
    return {
        "target": target,
        "layout": layout,
        "modes": modes,
        "compiler": [compiler],
        "gate_parameters": gate_parameters,
        "supported_languages": ["blackbird:1.0"],
    }
