"""
Cards and bars for notebooks, as HTML fragments. Every text is escaped, there is no script, and a sanitizer that strips the
style sheet (GitHub's does) leaves plain lines. Called by the ``_repr_html_`` of jobs and devices, and for live progress.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from html import escape
from typing import Literal, TypeAlias

Row: TypeAlias = tuple[str, str]
"""A label as text, and its value as HTML."""

Tone: TypeAlias = Literal["calm", "good", "bad", "busy"]
"""The colour of a badge or of a part of a bar."""

FRAME_STYLE = "font-size:13px;line-height:1.5"
"""The inline style of every fragment, with or without the style sheet."""

MAX_ENTRIES = 20
_MAX_LISTING_CHARS = 20_000

_TONES: Mapping[str, Tone] = {
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

# Text has the page's own colour. The badges have two sets of colours: the reader's system selects one, unless the notebook has
# a theme of its own, as JupyterLab and VS Code do.
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


def progress_html(text: str, shares: Mapping[Tone, float]) -> str:
    """Return ``text`` above a bar; ``shares`` are the parts of the bar, each 0 to 1 of its length."""
    parts = "".join(
        f'<div style="width:{100 * share:.2f}%;color:var(--sfjobs-{tone})"></div>'
        for tone, share in shares.items()
        if share
    )
    return _framed(f'<div>{escaped(text)}</div><div class="sfjobs-bar">{parts}</div>')


def card(kind: str, name: str, status: str | None, rows: Iterable[Row], *, below: str) -> str:
    """Return a heading with a badge for ``status``, a grid of ``rows``, and the HTML ``below`` them."""
    badge = ""
    if status is not None:
        tone = _TONES.get(status, "calm")
        badge = f' <span class="sfjobs-badge" style="color:var(--sfjobs-{tone})">{escaped(status)}</span>'
    lines = "".join(
        f'<div class="sfjobs-row"><span class="sfjobs-label">{escaped(label)}</span> '
        f'<span class="sfjobs-value">{value}</span></div>'
        for label, value in rows
    )
    return _framed(
        f'<div><b>{kind}</b>{badge} <code>{escaped(name)}</code></div><div class="sfjobs-rows">{lines}</div>{below}'
    )


def text_row(label: str, text: str | None) -> list[Row]:
    return [(label, escaped(text))] if text else []


def time_row(label: str, when: datetime | None) -> list[Row]:
    return [] if when is None else [(label, escape(f"{when:%Y-%m-%d %H:%M:%S} {when.tzname() or ''}".rstrip()))]


def entries(values: Mapping[str, object]) -> Iterable[Row]:
    """Yield a row for each of the first entries of a JSON object."""
    for label, value in list(values.items())[:MAX_ENTRIES]:
        yield label.replace("_", " "), escaped(value if isinstance(value, str) else json_text(value))
    if len(values) > MAX_ENTRIES:
        yield "", f"and {len(values) - MAX_ENTRIES} more"


def folded(title: str, text: str) -> str:
    """Return ``text`` in a section that is closed until the reader opens it; nothing for a blank text."""
    if not text.strip():
        return ""
    shown = text if len(text) <= _MAX_LISTING_CHARS else f"{text[:_MAX_LISTING_CHARS]} …"
    listing = "\n".join(map(_clean, shown.expandtabs(4).splitlines()))
    return f"<details><summary>{escape(title)}</summary><pre>{listing}</pre></details>"


def json_text(value: object, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False, default=str)


def escaped(text: str, max_chars: int = 400) -> str:
    """Return ``text`` for a place in HTML, cut to ``max_chars``."""
    return _clean(text if len(text) <= max_chars else f"{text[:max_chars]} …")


def _clean(text: str) -> str:
    """Escape ``text``, and replace characters that change the direction of writing or break the page."""
    return escape("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text))


def _framed(content: str) -> str:
    return f'<div class="sfjobs" style="{FRAME_STYLE}">{_STYLE}{content}</div>'
