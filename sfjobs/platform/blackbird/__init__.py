"""
Blackbird text to ``Program``, for text from anyone: no file is ever opened, nothing is evaluated by Python, every limit of
``limits`` is held, and whatever is wrong is a ``ProgramError`` with a line and a column. Safe to call from any
number of threads. The stages are ``lexer``, the grammar with ``tree``, and ``builder``.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from lark import Lark, UnexpectedInput, UnexpectedToken

from ..program import Program, ProgramError
from .builder import build
from .lexer import BlackbirdLexer
from .limits import parse_error
from .tree import Source, TreeBuilder

_READABLE = {
    "_LPAR": "'('",
    "_RPAR": "')'",
    "_LSQB": "'['",
    "_RSQB": "']'",
    "_LBRACE": "'{'",
    "_RBRACE": "'}'",
    "_BAR": "'|'",
    "_COMMA": "','",
    "_COLON": "':'",
    "_EQUALS": "'='",
    "_FOR": "'for'",
    "_IN": "'in'",
    "_NAME": "'name'",
    "_VERSION": "'version'",
    "_TARGET": "'target'",
    "_PROGRAMTYPE": "'type'",
    "_ARRAY": "'array'",
    "_NEWLINE": "the end of the line",
    "_INDENT": "an indented line",
    "_DEDENT": "the end of the block",
    "SIGN": "'+' or '-'",
    "TIMES": "'*' or '/'",
    "POWER": "'**'",
    "IDENTIFIER": "a name",
    "PLAIN_STATEMENT": "a statement",
    "NUMBER": "a number",
    "TYPE": "a type",
    "ROW": "a row of numbers",
    "$END": "the end of the program",
}


def parse(text: str) -> Program:
    """
    Parse a Blackbird 1.0 program. Numbers are calculated here; integers stay ``int``. Free parameters are let through
    (layouts of devices have them): who runs a program refuses them.

    Where the first implementation of the language rejects something harmless (``[0,1]``, ``.5``, ``version 1``, ``2**-1``,
    a list as a positional argument, a missing last newline), this one takes it. It refuses what would lose a value without
    a word: ``int n = 3.7``, a name or an option given twice, numbers that are not finite. ``include`` is refused, always.

    Raises ``ProgramError`` with code ``parse-error``.
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
