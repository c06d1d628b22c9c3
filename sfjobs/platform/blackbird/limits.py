"""
What the platform's Blackbird parser takes at most, and the error it raises beyond it. A program within all of these limits
is parsed in about a second and 100 MB; real ones are far within: an X8 program has 1.5 kB and 25 statements, the matrix of a
Gaussian transformation of 216 modes has 4 MB. The limits exist because the text comes from anyone with a key.
"""

from __future__ import annotations

from ..program import ProgramError

MAX_SOURCE_BYTES = 8 * 1024 * 1024
"""Bytes of the text in UTF-8."""

MAX_LINES = 100_000
"""Lines of the text, blank ones and comments included."""

MAX_TOKENS = 240_000
"""
Numbers in statements like ``BSgate(0.1, 0.2) | [0, 1]``; every word, number and symbol of other statements counts five. Array
rows of plain numbers do not count.
"""

MAX_STATEMENTS = 30_000
"""Gates and measurements, after the loops are unrolled; a full mesh of 216 modes has 23 220 interferometers."""

MAX_STEPS = 500_000
"""Steps of calculation of all expressions and arguments together, after the loops are unrolled."""

MAX_ARRAY_ELEMENTS = 1_000_000
"""Elements of all arrays together, those that array arithmetic makes included."""

MAX_NESTING = 50
"""Brackets open at the same time."""

MAX_OPERATORS = 256
"""Operators in one expression."""

MAX_NUMBER_CHARACTERS = 64
"""Characters of one number; the longest that Python prints for a float has 24."""

MAX_NAME_CHARACTERS = 256
"""Characters of one name."""

MAX_PARAMETER_CHARACTERS = 512
"""Characters of an expression that waits for measured modes or free parameters, its variables filled in."""

MAX_MODES = 1024
"""Modes are numbered 0 to this, exclusive."""

MAX_INTEGER = 2**63 - 1
"""Magnitude of an integer, literal or calculated."""


_MAX_DETAIL = 500


def parse_error(detail: str, line: int, column: int, *, operation: str | None = None) -> ProgramError:
    """A ``parse-error`` whose text begins with its place, as the reader of a log needs it."""
    if len(detail) > _MAX_DETAIL:  # it may quote the text
        detail = detail[:_MAX_DETAIL] + "..."
    where = f"line {line}, column {column}: {detail}"
    return ProgramError("parse-error", where, line=line, column=column, operation=operation)
