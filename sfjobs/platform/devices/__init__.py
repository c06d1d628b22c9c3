"""
The devices of the embedded platform: what they are to a client (specification, certificate, uptime) and which programs they
take. The X-series devices hold a program against their layout; the simulators take every Gaussian circuit. Nothing runs here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from ..program import Program
from .gaussian import check_gaussian
from .xseries import Template, check_against, xseries_layout, xseries_parameters

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
Engine: TypeAlias = Literal["gaussian", "xseries", "never", "always_fails"]
Status: TypeAlias = Literal["online", "offline"]

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ALWAYS = MappingProxyType({day: ["00:00:00+00:00", "23:59:59+00:00"] for day in _WEEKDAYS})
_CREATED_AT = "2026-01-05T09:00:00+00:00"

SIMULATOR_MODES = 216
"""Modes of a simulator; whether the photons in them can be sampled is only seen when the job runs."""


@dataclass(frozen=True)
class TargetDevice:
    """
    One target. ``specification`` and ``certificate`` are the JSON bodies that clients get, ``expected_uptime`` has the lower-case
    English weekdays as keys and ``[up, down]`` in ISO 8601 as values, ``engine`` names what runs a job of this target.
    """

    target: str
    status: Status
    expected_uptime: Mapping[str, list[str]]
    created_at: str
    specification: dict[str, JSON]
    certificate: dict[str, JSON]
    engine: Engine
    checker: Callable[[Program], None]

    def check(self, program: Program) -> None:
        """Raise ``ProgramError`` ``unsupported-circuit``, naming line and gate, if this device cannot run ``program``."""
        self.checker(program)

    def detail(self) -> dict[str, JSON]:
        """The body of ``GET /devices/{target}``."""
        uptime: dict[str, JSON] = {day: list(times) for day, times in self.expected_uptime.items()}
        return {
            "target": self.target,
            "status": self.status,
            "expected_uptime": uptime,
            "created_at": self.created_at,
        }


def build_devices(*, test_targets: bool = False) -> Mapping[str, TargetDevice]:
    """
    All targets by name. ``test_targets`` adds ``never`` (its jobs stay queued for ever) and ``always_fails``, which look like
    the simulator otherwise: for tests of clients.
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
    # Strawberry Fields 0.18 to 0.20 reads `max`, later ones the flat keys: the union suits all of them.
    modes: dict[str, JSON] = {
        "pnr_max": SIMULATOR_MODES,
        "homodyne_max": SIMULATOR_MODES,
        "heterodyne_max": SIMULATOR_MODES,
    }
    modes["max"] = {"pnr": SIMULATOR_MODES, "homodyne": SIMULATOR_MODES, "heterodyne": SIMULATOR_MODES}
    specification: dict[str, JSON] = {
        "target": target,
        "layout": "",
        "modes": modes,
        "compiler": ["gaussian"],
        "gate_parameters": {},
        "supported_languages": ["blackbird:1.0"],
    }

    def check(program: Program) -> None:
        check_gaussian(program, target=target, most_modes=SIMULATOR_MODES)

    certificate: dict[str, JSON] = {"target": target, "finished_at": _CREATED_AT, "simulated": True}
    return TargetDevice(target, "online", _ALWAYS, _CREATED_AT, specification, certificate, engine, check)


def _xseries(target: str, *, pairs: int) -> TargetDevice:
    layout = xseries_layout(target, pairs)
    parameters = xseries_parameters(pairs)
    gate_parameters: dict[str, JSON] = {
        name: [list(entry) if isinstance(entry, tuple) else entry for entry in entries]
        for name, entries in parameters.items()
    }
    specification: dict[str, JSON] = {
        "target": target,
        "layout": layout,
        "modes": 2 * pairs,
        "compiler": ["Xunitary"],
        "gate_parameters": gate_parameters,
        "supported_languages": ["blackbird:1.0"],
    }
    template = Template.of(layout, parameters)

    def check(program: Program) -> None:
        check_against(template, program, target=target)

    # An ideal device: its identity circuit is the identity. The keys are those of the first X8's certificates.
    certificate: dict[str, JSON] = {
        "target": target,
        "finished_at": _CREATED_AT,
        "identity_unitary": {},
        "anti_identity_unitary": {},
        "shots_per_benchmark": 0,
        "laser_wavelength_meters": 1.55e-06,
        "simulated": True,
    }
    return TargetDevice(target, "online", _ALWAYS, _CREATED_AT, specification, certificate, "xseries", check)
