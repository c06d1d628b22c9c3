"""
The limits of the Blackbird parser, and its error. Parsing a program within all limits takes about a second and 100 MB. Real
programs are far smaller: an X8 program has 1.5 kB and 25 statements, the matrix of a Gaussian transformation of 216 modes has
4 MB. The limits exist because anyone with an API key can send text.
"""

from __future__ import annotations

from typing import Final

from lark.lexer import Token

from ..program import ProgramError

MAX_SOURCE_BYTES: Final = 8 * 1024 * 1024
"""Bytes of the text in UTF-8. The platform can allow less for a submission, and not more."""

MAX_LINES: Final = 100_000
"""Lines of the text, including blank lines and comments."""

MAX_TOKENS: Final = 240_000
"""
Numbers in statements such as ``BSgate(0.1, 0.2) | [0, 1]``; each word, number and symbol of other statements counts five. Array
rows of plain numbers do not count.
"""

MAX_STATEMENTS: Final = 30_000
"""Gates and measurements after loops are unrolled; a full mesh of 216 modes has 23 220 interferometers."""

MAX_STEPS: Final = 500_000
"""Calculation steps of all expressions and arguments together, after loops are unrolled."""

MAX_ARRAY_ELEMENTS: Final = 1_000_000
"""Elements of all arrays together, including the results of array arithmetic."""

MAX_ARRAY_PARAMETERS: Final = 50_000
"""Elements of all arrays that are free parameters, each with a name of its own; the longest streams have 1000 time bins."""

MAX_NESTING: Final = 50
"""Brackets open at the same time."""

MAX_OPERATORS: Final = 256
"""Operators in one expression."""

MAX_NUMBER_CHARACTERS: Final = 64
"""Characters of one number; the longest that Python prints for a float has 24."""

MAX_NAME_CHARACTERS: Final = 256
"""Characters of one name."""

MAX_PARAMETER_CHARACTERS: Final = 512
"""Characters of an expression with measured modes or free parameters, after its variables are replaced by values."""

MAX_MODES: Final = 1024
"""Modes are numbered from 0 to this, exclusive."""

MAX_INTEGER: Final = 2**63 - 1
"""Magnitude of an integer, literal or calculated."""

_MAX_DETAIL_CHARACTERS: Final = 500


def parse_error(detail: str, line: int, column: int) -> ProgramError:
    """Return a ``parse-error`` whose text starts with its place, 1-based."""
    if len(detail) > _MAX_DETAIL_CHARACTERS:  # it may quote the text
        detail = detail[:_MAX_DETAIL_CHARACTERS] + "..."
    return ProgramError("parse-error", f"line {line}, column {column}: {detail}", line=line, column=column)


def error_at(token: Token, detail: str) -> ProgramError:
    """Return a ``parse-error`` at the place of ``token``."""
    return parse_error(detail, token.line or 0, token.column or 0)
