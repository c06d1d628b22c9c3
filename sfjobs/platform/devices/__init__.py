"""
The devices of the embedded platform: specification, certificate and uptime for clients, and the check of a program at submission.
X-series and time-domain devices compare a program with their layout; simulators accept Gaussian circuits. Nothing runs here.

    gaussian       the check of the simulator targets
    layout         the check of a program against a layout
    xseries        the layout of the X-series devices
    time_domain    the layouts of borealis and TD2, and the losses of borealis
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
from .layout import Allowed, Template, check_against
from .time_domain import (
    BOREALIS_DELAYS,
    BOREALIS_MAX_BINS,
    TD2_MAX_BINS,
    borealis_certificate,
    borealis_layout,
    borealis_parameters,
    losses_in_meta,
    place_of_loops,
    td2_layout,
    td2_parameters,
    with_borealis_losses,
)
from .xseries import xseries_layout, xseries_parameters

Engine: TypeAlias = Literal["gaussian", "xseries", "time_domain", "never", "always_fails"]

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
        _borealis(),
        _td2(),
    ]
    if test_targets:
        devices += [_simulator("never", "never"), _simulator("always_fails", "always_fails")]
    return MappingProxyType({device.target: device for device in devices})


def as_run(target: str, program: Program) -> tuple[Program, dict[str, JSONValue]]:
    """
    Return the program that is simulated for ``program`` on a target, with the imperfections of the device, and what the job's
    ``meta`` says of them. ``program`` has passed the device's check.
    """
    if target != "borealis":
        return program, {}
    return with_borealis_losses(program), {"losses": losses_in_meta(_certificate(target, borealis_certificate()))}


def _simulator(target: str, engine: Engine) -> TargetDevice:
    # Strawberry Fields 0.18 to 0.20 reads `max`, later versions read the flat keys.
    by_measurement: dict[str, JSONValue] = dict.fromkeys(("pnr", "homodyne", "heterodyne"), SIMULATED_MODES)
    flat: dict[str, JSONValue] = {f"{name}_max": SIMULATED_MODES for name in by_measurement}
    return TargetDevice(
        target=target,
        engine=engine,
        specification=_specification(target, "", {**flat, "max": by_measurement}, "gaussian", {}),
        certificate=_certificate(target, {}),
        check=partial(check_gaussian, target=target, max_modes=SIMULATED_MODES),
    )


def _xseries(target: str, *, pairs: int) -> TargetDevice:
    layout = xseries_layout(target, pairs)
    parameters = xseries_parameters(pairs)
    program = parse(layout)
    # An ideal device: its identity circuit is the identity. The keys are those of the first X8's certificates.
    certificate: dict[str, JSONValue] = {
        "identity_unitary": {},
        "anti_identity_unitary": {},
        "shots_per_benchmark": 0,
        "laser_wavelength_meters": 1.55e-06,
    }
    return TargetDevice(
        target=target,
        engine="xseries",
        specification=_specification(target, layout, 2 * pairs, "Xunitary", parameters),
        certificate=_certificate(target, certificate),
        check=partial(check_against, Template(program.operations, program.num_modes, parameters), target=target),
    )


def _borealis() -> TargetDevice:
    return _time_domain(
        "borealis",
        borealis_layout(),
        borealis_parameters(),
        delays=BOREALIS_DELAYS,
        max_bins=BOREALIS_MAX_BINS,
        certificate=borealis_certificate(),
    )


def _td2() -> TargetDevice:
    return _time_domain("TD2", td2_layout(), td2_parameters(), delays=(1,), max_bins=TD2_MAX_BINS, certificate={})


def _time_domain(
    target: str,
    layout: str,
    parameters: dict[str, Allowed],
    *,
    delays: tuple[int, ...],
    max_bins: int,
    certificate: Mapping[str, JSONValue],
) -> TargetDevice:
    program = parse(layout)
    modes: dict[str, JSONValue] = {"concurrent": program.num_modes, "spatial": 1, "temporal_max": max_bins}
    place = place_of_loops(delays)
    template = Template(program.operations, program.num_modes, parameters, max_bins, place)
    return TargetDevice(
        target=target,
        engine="time_domain",
        specification=_specification(target, layout, modes, target, parameters),
        certificate=_certificate(target, certificate),
        check=partial(check_against, template, target=target),
    )


def _certificate(target: str, entries: Mapping[str, JSONValue]) -> dict[str, JSONValue]:
    return {"target": target, "finished_at": _CREATED_AT, **entries, "simulated": True}


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
