"""
Parse Blackbird text from untrusted sources to a ``Program``. No file is opened, nothing is evaluated by Python, the ``limits``
hold, and each error is a ``ProgramError`` with line and column. Safe to call from any number of threads.

    lexer         text to tokens: indentation, literals, and the limits that can be checked before parsing
    grammar.lark  the LALR(1) grammar
    tree          the source tree that the parser builds
    expressions   arithmetic, and expressions that wait for measured modes or free parameters
    formulas      the values of expressions of measured modes, for many shots
    builder       the source tree to a ``Program``: names, loops, arrays
    limits        limits, and the error with its place
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from lark import Lark, UnexpectedInput, UnexpectedToken

from ..program import Program, ProgramError
from .builder import build
from .lexer import HEADER_TOKENS, SYMBOLS, BlackbirdLexer
from .limits import parse_error
from .tree import Source, TreeBuilder

_READABLE = {
    **{token: f"'{symbol}'" for symbol, token in SYMBOLS.items()},
    **{token: f"'{word}'" for word, token in HEADER_TOKENS.items()},
    **{f"_{word.upper()}": f"'{word}'" for word in ("for", "in", "array")},
    "_NEWLINE": "the end of the line",
    "_INDENT": "an indented line",
    "_DEDENT": "the end of the block",
    "SIGN": "'+' or '-'",
    "TIMES": "'*' or '/'",
    "IDENTIFIER": "a name",
    "PLAIN_STATEMENT": "a statement",
    "NUMBER": "a number",
    "TYPE": "a type",
    "ROW": "a row of numbers",
    "$END": "the end of the program",
}


def parse(text: str) -> Program:
    """
    Parse a Blackbird 1.0 program. Expressions of numbers are calculated; integers stay ``int``. Free parameters are accepted, as
    layouts of devices contain them; devices and the simulation reject them.

    The parser accepts some text that quantum-blackbird rejects: ``[0,1]``, ``.5``, ``version 1``, ``2**-1``, a list as a
    positional argument, a missing last newline, and the functions ``re``, ``im``, ``abs``, ``arg`` and ``conjugate``. It rejects
    text that would silently lose a value: ``int n = 3.7``, an option given twice, and numbers that are not finite. It always
    rejects ``include``.

    Raises:
        ProgramError: ``parse-error`` with line and column.
    """
    try:
        source = _grammar().parse(text)
    except UnexpectedInput as error:
        raise _unexpected(error) from None
    assert isinstance(source, Source)
    return build(source)


@cache
def _grammar() -> Lark:
    text = (resources.files(__package__) / "grammar.lark").read_text(encoding="utf-8")
    return Lark(text, parser="lalr", lexer=BlackbirdLexer, transformer=TreeBuilder(), start="program")


def _unexpected(error: UnexpectedInput) -> ProgramError:
    if not isinstance(error, UnexpectedToken):
        return parse_error("this cannot be read", max(error.line, 1), max(error.column, 1))
    token = error.token
    found = _READABLE.get(token.type, repr(str(token)))
    if token.type in {"IDENTIFIER", "NUMBER", "SIGN", "TIMES", "TYPE"}:
        found = repr(str(token)[:40])
    expected = sorted(_READABLE.get(name, name.lower()) for name in error.expected)
    hint = f", expected {' or '.join(expected)}" if len(expected) <= 3 else ""
    return parse_error(f"unexpected {found}{hint}", max(token.line or 1, 1), max(token.column or 1, 1))
