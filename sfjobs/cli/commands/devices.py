"""``sfjobs devices`` and ``sfjobs device``: what the platform runs programs on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from ..context import CommandContext, stdout
from ..errors import CommandError, ExitCode, printable
from ..output.json import about_device, compact, write_json, write_text

if TYPE_CHECKING:
    from ..._client.connection import Connection
    from ...models import Device, JSONValue

_WEEK = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def devices(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """List the platform's devices."""

    async def ask(connection: Connection) -> list[Device]:
        return await connection.list_devices()

    found = CommandContext.of(context).ask(ask)
    if as_json:
        write_json({"devices": [about_device(device) for device in found]})
        return ExitCode.OK
    from ..output.tables import indented, table

    grid = table("target", "status")
    grid.add_column("expected uptime")
    for device in found:
        style = "green" if device.is_online else "dim"
        grid.add_row(printable(device.target), printable(device.status or "unknown"), _days(device), style=style)
    indented(stdout(), grid)
    return ExitCode.OK


def device(
    context: typer.Context,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Name of the device, as `sfjobs devices` shows it.")],
    *,
    layout: Annotated[bool, typer.Option("--layout", help="Print the layout of its circuit and nothing else.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Show a device: status, uptime, specification, certificate."""

    async def ask(connection: Connection) -> Device:
        try:
            return await connection.get_device(target)
        except ValueError as error:
            raise CommandError(f"{printable(target)} names no device.", "See `sfjobs devices`.") from error

    found = CommandContext.of(context).ask(ask)
    if as_json:
        write_json(about_device(found))
    elif layout:
        write_text(found.specification.layout if found.specification else "")
    else:
        _show(found)
    return ExitCode.OK


def _show(device: Device) -> None:
    from ..output.tables import facts, moment

    specification = device.specification
    console = stdout()
    pairs: dict[str, str | None] = {
        "target": device.target,
        "status": device.status,
        "expected uptime": _days(device) or None,
        "since": moment(device.created_at) or None,
    }
    if specification is not None:
        pairs["modes"] = _brief(specification.modes)
        pairs["compilers"] = ", ".join(specification.compiler)
        lines = len(specification.layout.splitlines())
        pairs["layout"] = f"{lines} lines: sfjobs device {device.target} --layout" if lines else "any circuit"
    facts(console, pairs)
    parameters = specification.gate_parameters if specification else {}
    _section("Gate parameters", {name: _allowed(values) for name, values in parameters.items()})
    _section("Certificate", {name: _brief(value) for name, value in (device.certificate or {}).items()})


def _section(title: str, values: Mapping[str, str]) -> None:
    if not values:
        return
    from ..output.tables import facts

    console = stdout()
    console.print()
    console.print(title, style="bold")
    facts(console, {f"  {printable(name)}": value for name, value in values.items()})


def _brief(value: JSONValue) -> str:
    return value if isinstance(value, str) else compact(value)


def _allowed(values: JSONValue) -> str:
    """``[0, [1, 2]]``, single values and ranges, as ``0, 1 to 2``."""
    if not isinstance(values, list):
        return _brief(values)
    return ", ".join(
        f"{_brief(value[0])} to {_brief(value[1])}" if isinstance(value, list) and len(value) == 2 else _brief(value)
        for value in values
    )


def _days(device: Device) -> str:
    """``always``, ``every day 15:00-17:00 UTC``, or the days with their times."""
    spans = {
        day: f"{begin:%H:%M}-{end:%H:%M} {begin.tzname() or ''}".strip()
        for day, (begin, end) in device.expected_uptime.items()
    }
    times = set(spans.values())
    if len(times) == 1 and spans.keys() >= set(_WEEK):
        span = times.pop()
        return "always" if span.startswith("00:00-23:59") else f"every day {span}"
    return ", ".join(f"{day[:3].title()} {spans[day]}" for day in _WEEK if day in spans)
