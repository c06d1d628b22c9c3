"""
How jobs and devices look in a notebook. Pure string work: every text of the platform is escaped, there is no script, and what
a sanitizer strips (the style sheet, as on GitHub) leaves plain lines. Called by the ``_repr_html_`` of ``Job`` and ``Device``,
and for the progress of many jobs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, time
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from ..models import Device, DeviceSpecification, JSONValue

Row: TypeAlias = tuple[str, str]
"""A label, which is text, and what stands beside it, which is HTML."""

Mood: TypeAlias = Literal["calm", "good", "bad", "busy"]

FRAME = "font-size:13px;line-height:1.5"
"""What every display of ours has in common, with or without the style sheet."""

_MOST_ENTRIES = 20
_LONGEST_TEXT = 400
_LONGEST_LISTING = 20_000

_MOODS: Mapping[str, Mood] = {
    "complete": "good",
    "failed": "bad",
    "cancelled": "calm",
    "cancel_pending": "busy",
    "open": "busy",
    "queued": "busy",
    "online": "good",
    "offline": "bad",
}

_LIGHT = "--sfjobs-good:#1a7f37;--sfjobs-bad:#c4232d;--sfjobs-busy:#0a62c4;--sfjobs-calm:#5b6470"
_DARK = "--sfjobs-good:#56c271;--sfjobs-bad:#ff7b72;--sfjobs-busy:#6cb2ff;--sfjobs-calm:#a3acb8"

# Text has the page's own colour. Only the badges have two sets, by the reader's system, unless the notebook says for itself
# what it is: JupyterLab and VS Code have themes of their own.
_STYLE = (
    "<style>"
    f".sfjobs{{{_LIGHT}}}"
    f"@media (prefers-color-scheme:dark){{.sfjobs{{{_DARK}}}}}"
    f"[data-jp-theme-light=true] .sfjobs,.vscode-light .sfjobs,.vscode-high-contrast-light .sfjobs{{{_LIGHT}}}"
    f"[data-jp-theme-light=false] .sfjobs,.vscode-dark .sfjobs,.vscode-high-contrast:not(.vscode-high-contrast-light) .sfjobs{{{_DARK}}}"  # noqa: E501 - a rule
    ".sfjobs{border:1px solid rgba(128,128,128,.35);border-radius:6px;padding:8px 12px;margin:2px 0;max-width:46rem;"
    "width:fit-content;min-width:18rem;box-sizing:border-box}"
    ".sfjobs-rows{display:grid;grid-template-columns:fit-content(40%) minmax(0,1fr);gap:1px 14px;margin:4px 0}"
    ".sfjobs-row{display:contents}"
    ".sfjobs-label{opacity:.68;overflow-wrap:anywhere}"
    ".sfjobs-value{overflow-wrap:anywhere}"
    ".sfjobs-badge{border:1px solid;border-radius:9px;padding:0 7px;font-size:12px;margin:0 4px}"
    ".sfjobs-bar{display:flex;height:6px;margin:5px 0 2px;border-radius:3px;overflow:hidden;background:rgba(128,128,128,.25)}"
    ".sfjobs-bar div{flex:none;height:100%;background:currentColor}"
    ".sfjobs code,.sfjobs pre{font-size:12px;background:none;padding:0;color:inherit}"
    ".sfjobs pre{margin:2px 0;max-height:20em;overflow:auto;white-space:pre}"
    ".sfjobs summary{cursor:pointer}"
    "</style>"
)


def device_html(device: Device) -> str:
    """A device as an HTML fragment; what is long, such as its layout and its certificate, is folded away."""
    rows = [
        *time_row("created", device.created_at),
        *([("expected uptime", _uptime(device.expected_uptime))] if device.expected_uptime else []),
        *([] if device.specification is None else _specification_rows(device.specification)),
    ]
    layout = "" if device.specification is None else device.specification.layout
    certificate = "" if device.certificate is None else _pretty(device.certificate)
    gates = {} if device.specification is None else device.specification.gate_parameters
    allowed = "\n".join(f"{name}: {_allowed(values)}" for name, values in gates.items())
    below = _folded("gate parameters", allowed) + _folded("layout", layout) + _folded("certificate", certificate)
    return card("Device", device.target, device.status, rows, below=below)


def progress_html(text: str, shares: Mapping[Mood, float]) -> str:
    """How far many jobs are, as an HTML fragment: ``text``, and a bar below it with parts of 0 to 1 of its length."""
    parts = "".join(
        f'<div style="width:{100 * share:.2f}%;color:var(--sfjobs-{mood})"></div>'
        for mood, share in shares.items()
        if share
    )
    return f'<div class="sfjobs" style="{FRAME}">{_STYLE}<div>{_text(text)}</div><div class="sfjobs-bar">{parts}</div></div>'


def card(kind: str, name: str, word: str | None, rows: Iterable[Row], *, below: str) -> str:
    badge = ""
    if word is not None:
        mood = _MOODS.get(word, "calm")
        badge = f' <span class="sfjobs-badge" style="color:var(--sfjobs-{mood})">{_text(word)}</span>'
    lines = "".join(
        f'<div class="sfjobs-row"><span class="sfjobs-label">{_text(label)}</span> '
        f'<span class="sfjobs-value">{value}</span></div>'
        for label, value in rows
    )
    return (
        f'<div class="sfjobs" style="{FRAME}">{_STYLE}<div><b>{kind}</b>{badge} <code>{_text(name)}</code></div>'
        f'<div class="sfjobs-rows">{lines}</div>{below}</div>'
    )


def text_row(label: str, text: str | None) -> list[Row]:
    return [(label, _text(text))] if text else []


def time_row(label: str, when: datetime | None) -> list[Row]:
    return [] if when is None else [(label, escape(f"{when:%Y-%m-%d %H:%M:%S} {when.tzname() or ''}".rstrip()))]


def entries(values: Mapping[str, JSONValue]) -> Iterable[Row]:
    """The first entries of what may be any JSON object."""
    for label, value in list(values.items())[:_MOST_ENTRIES]:
        yield _shortened(label.replace("_", " ")), _text(value if isinstance(value, str) else _compact(value))
    if len(values) > _MOST_ENTRIES:
        yield "", f"and {len(values) - _MOST_ENTRIES} more"


def _specification_rows(specification: DeviceSpecification) -> Iterable[Row]:
    modes = specification.modes
    if isinstance(modes, int):
        yield "modes", f"{modes:,}"
    else:
        yield from ((f"modes, {_shortened(kind)}", _text(_compact(number))) for kind, number in modes.items())
    yield from text_row("compilers", ", ".join(specification.compiler))


def _uptime(days: Mapping[str, tuple[time, time]]) -> str:
    """One line for each run of days with the same hours."""
    lines = []
    for (start, end), run in groupby(list(days)[:_MOST_ENTRIES], key=days.__getitem__):
        names = [_text(day.capitalize()) for day in run]
        which = "every day" if len(names) == 7 else ", ".join(names)
        lines.append(f"{which}: {start:%H:%M} to {end:%H:%M} {escape(start.tzname() or '')}".rstrip())
    return "<br/>".join(lines)


def _allowed(values: JSONValue) -> str:
    """``[0, [0.5, 1]]``, the number 0 and a range, in words; anything else as it is."""
    if not isinstance(values, list):
        return _compact(values)
    return " or ".join(
        " to ".join(map(_number, value)) if isinstance(value, list) and len(value) == 2 else _number(value)
        for value in values
    )


def _number(value: JSONValue) -> str:
    return f"{value:.5g}" if isinstance(value, float) else _compact(value)


def _folded(title: str, text: str) -> str:
    if not text.strip():
        return ""
    shown = text if len(text) <= _LONGEST_LISTING else f"{text[:_LONGEST_LISTING]} …"
    return f"<details><summary>{escape(title)}</summary><pre>{_listing(shown)}</pre></details>"


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _text(text: str) -> str:
    return _clean(_shortened(text))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]} …"


def _listing(text: str) -> str:
    return "\n".join(map(_clean, text.expandtabs(4).splitlines()))


def _clean(text: str) -> str:
    """Escaped, and without characters that turn the text around or break the page."""
    return escape("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text))
