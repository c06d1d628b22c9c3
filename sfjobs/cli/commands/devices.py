"""``sfjobs devices`` and ``sfjobs device``: the platform's devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from ..context import CommandContext, JSONOption, stdout
from ..errors import CommandError, printable
from ..output.json import about_device, compact, write_json, write_text

if TYPE_CHECKING:
    from ..._client.connection import Connection
    from ...models import Device, JSONValue

_WEEK = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def devices(context: typer.Context, *, as_json: JSONOption = False) -> None:
    """List the platform's devices."""
    found = CommandContext.of(context).run(lambda connection: connection.list_devices())
    if as_json:
        write_json({"devices": [about_device(device) for device in found]})
        return
    from ..output.tables import MAX_WIDTH, cell, indented, table

    grid = table("target", "status", max_width=MAX_WIDTH)
    grid.add_column("expected uptime")
    for device in found:
        style = "green" if device.is_online else "dim"
        status = (device.status or "unknown") + _pause(device, ", ")
        grid.add_row(*map(cell, (device.target, status, _uptime(device))), style=style)
    indented(stdout(), grid)


def device(
    context: typer.Context,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Name of the device, as `sfjobs devices` shows it.")],
    *,
    layout: Annotated[bool, typer.Option("--layout", help="Print the layout of its circuit and nothing else.")] = False,
    as_json: JSONOption = False,
) -> None:
    """Show a device: status, uptime, specification, certificate."""
    from ..._protocol.targets import resolved

    try:
        target = resolved(target)
    except ValueError as error:
        what = f"{target} is a local backend of Strawberry Fields, not a device of a platform."
        raise CommandError(what, "Give a simulator: sfjobs device simulon_gaussian") from error

    async def fetch(connection: Connection) -> Device:
        try:
            return await connection.get_device(target)
        except ValueError as error:
            raise CommandError(f"{printable(target)} is not the name of a device.", "See `sfjobs devices`.") from error

    found = CommandContext.of(context).run(fetch)
    if as_json:
        write_json(about_device(found))
    elif layout:
        write_text(found.specification.layout if found.specification else "")
    else:
        _show(found)


def _show(device: Device) -> None:
    from ..output.tables import fields, moment

    specification = device.specification
    pairs: dict[str, str | None] = {
        "target": device.target,
        "status": device.status,
        "paused": _pause(device) or None,
        "expected uptime": _uptime(device) or None,
        "since": moment(device.created_at) or None,
    }
    if specification is not None:
        pairs["modes"] = _text(specification.modes)
        pairs["compilers"] = ", ".join(specification.compiler) or None
        lines = len(specification.layout.splitlines())
        pairs["layout"] = f"{lines} lines: sfjobs device {device.target} --layout" if lines else "any circuit"
    fields(stdout(), pairs)
    parameters = specification.gate_parameters if specification else {}
    _section("Gate parameters", {name: _ranges(values) for name, values in parameters.items()})
    _section("Certificate", {name: _text(value) for name, value in (device.certificate or {}).items()})


def _section(title: str, values: Mapping[str, str]) -> None:
    if values:
        from ..output.tables import fields

        stdout().print(f"\n{title}", style="bold")
        fields(stdout(), {f"  {printable(name)}": value for name, value in values.items()})


def _text(value: JSONValue) -> str:
    return value if isinstance(value, str) else compact(value)


def _ranges(values: JSONValue) -> str:
    """Return ``[0, [1, 2]]``, single values and ranges, as ``0, 1 to 2``."""
    if not isinstance(values, list):
        return _text(values)
    return ", ".join(
        f"{_text(value[0])} to {_text(value[1])}" if isinstance(value, list) and len(value) == 2 else _text(value)
        for value in values
    )


def _pause(device: Device, before: str = "") -> str:
    """Return why a device is paused and until when, after ``before``, or nothing."""
    if device.pause_reason is None:
        return ""
    from ..output.tables import moment

    until = "" if device.paused_until is None else f" until {moment(device.paused_until)}"
    reason = f": {printable(device.pause_reason)}" if device.pause_reason else ""
    return f"{before}paused{until}{reason}"


def _uptime(device: Device) -> str:
    """Return ``always``, ``every day 15:00-17:00 UTC``, or the days with their times."""
    spans = {
        day: f"{begin:%H:%M}-{end:%H:%M} {begin.tzname() or ''}".strip()
        for day, (begin, end) in device.expected_uptime.items()
    }
    times = set(spans.values())
    if len(times) == 1 and spans.keys() >= set(_WEEK):
        span = times.pop()
        return "always" if span.startswith("00:00-23:59") else f"every day {span}"
    return ", ".join(f"{day[:3].title()} {spans[day]}" for day in _WEEK if day in spans)
