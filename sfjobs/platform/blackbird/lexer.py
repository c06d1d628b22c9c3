"""
Text to tokens for the Blackbird grammar, line by line: indentation, literals, and the limits that can be checked before parsing.
Called by lark; keeps no state between texts.
"""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Generator, Iterator

from lark.lexer import Lexer, Token

from . import limits
from .expressions import COMPLEX_FUNCTIONS, FUNCTIONS
from .limits import parse_error

# Possessive throughout: with backtracking, five million digits took minutes.
_NUMBER = r"(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][+-]?+[0-9]++)?+"
_COMMON = rf"""(?P<NUMBER>{_NUMBER}[jJ]?)|(?P<WORD>[A-Za-z][0-9A-Za-z_]*)|(?P<STRING>"[^"]*")
    |(?P<SYMBOL>\*\*|[-+*/()\[\]{{}}|,:=])|(?P<COMMENT>\#.*)|(?P<END>\Z)"""

# Where a value may begin, a sign belongs to a complex literal. After a value it is an operator; `a-1+2j` could mean either.
_VALUE_NEXT = re.compile(rf"[ \t]*(?:(?P<COMPLEX>[+-]?{_NUMBER}[+-]{_NUMBER}[jJ])|{_COMMON})", re.VERBOSE)
_OPERATOR_NEXT = re.compile(rf"[ \t]*(?:(?P<AMBIGUOUS>[+-]{_NUMBER}[+-]{_NUMBER}[jJ])|{_COMMON})", re.VERBOSE)

_LINE = re.compile(r"([^\r\n]*)(?:\r\n|\r|\n|\Z)")
_HEADER = re.compile(r"(name|version|target|type|include)(?![0-9A-Za-z_])[ \t]*")
_DEVICE = re.compile(r"[0-9A-Za-z_.\-]+")
_PLAIN_ROW = re.compile(r"[-+0-9.eEjJ, \t]+")
_PLAIN_STATEMENT = re.compile(
    r"([A-Za-z][0-9A-Za-z_]*+)[ \t]*+(?:\(([-+0-9.eE, \t]*+)\)[ \t]*+)?+\|[ \t]*+(?:\[([0-9, \t]++)\]|([0-9]++))[ \t]*+"
)
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\ud800-\udfff]")

_OPENING = {"(": "_LPAR", "[": "_LSQB", "{": "_LBRACE"}
_CLOSING = {")": "_RPAR", "]": "_RSQB", "}": "_RBRACE"}
_PUNCTUATION = {"|": "_BAR", ",": "_COMMA", ":": "_COLON", "=": "_EQUALS"}
_OPERATORS = {"+": "SIGN", "-": "SIGN", "*": "TIMES", "/": "TIMES", "**": "POWER"}
SYMBOLS = {**_OPENING, **_CLOSING, **_PUNCTUATION, **_OPERATORS}
"""Token types by symbol."""
_NESTING = {**dict.fromkeys(_OPENING.values(), 1), **dict.fromkeys(_CLOSING.values(), -1)}
HEADER_TOKENS = {"name": "_NAME", "version": "_VERSION", "target": "TARGET", "type": "PROGRAMTYPE"}
_WORDS = {
    **dict.fromkeys(("float", "complex", "int", "str", "bool"), "TYPE"),
    **dict.fromkeys(FUNCTIONS, "FUNCTION"),
    "array": "_ARRAY",
    "for": "_FOR",
    "in": "_IN",
    "True": "BOOLEAN",
    "False": "BOOLEAN",
    "pi": "NUMBER",
}
_WORD_VALUES = {"True": True, "False": False, "pi": math.pi}
_GRAMMAR_COST = 5  # time to parse one token by the grammar, in units of one number in a plain statement
_ENDS_A_VALUE = {"NUMBER", "IDENTIFIER", "STRING", "BOOLEAN", "MEASURED", *_CLOSING.values()}


class BlackbirdLexer(Lexer):
    """The lexer for lark; each text has its own ``_Scan``, so that threads share no state."""

    def __init__(self, conf: object) -> None:
        """``conf`` is lark's description of the terminals, which is not needed here."""

    def lex(self, data: str) -> Iterator[Token]:  # type: ignore[override]  # lark hands such lexers the plain text
        _check_text(data)
        return _Scan().lines(data)


def _check_text(text: str) -> None:
    if len(text) > limits.MAX_SOURCE_BYTES or len(text.encode("utf-8", "replace")) > limits.MAX_SOURCE_BYTES:
        line = 1 + text.count("\n", 0, limits.MAX_SOURCE_BYTES)
        raise parse_error(f"a program may have {limits.MAX_SOURCE_BYTES} bytes at most", line, 1)
    if text.count("\n") + text.count("\r") > 2 * limits.MAX_LINES:
        raise _too_many_lines()
    if text.count("|") > limits.MAX_STATEMENTS:
        _check_statements(text)
    if bad := _FORBIDDEN.search(text):
        before = re.split(r"\r\n|\r|\n", text[: bad.start()])
        what = f"the character U+{ord(bad[0]):04X} cannot be part of a program"
        raise parse_error(what, len(before), len(before[-1]) + 1)


def _check_statements(text: str) -> None:
    """Reject a text with too many statements before reading them: each statement has a bar."""
    statements = 0
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        statements += "|" in line.partition("#")[0]
        if statements > limits.MAX_STATEMENTS:
            raise parse_error(f"a program may have {limits.MAX_STATEMENTS} statements at most", number, 1)


def _too_many_lines() -> Exception:
    return parse_error(f"a program may have {limits.MAX_LINES} lines at most", limits.MAX_LINES + 1, 1)


class _Scan:
    """One pass over one text."""

    def __init__(self) -> None:
        self.line = 0
        self.tokens = 0
        self.row_elements = 0
        self.block: str | None = None  # the indentation of the current block
        self.rows_expected = False  # whether the last line without indentation ends with an equals sign

    def lines(self, text: str) -> Iterator[Token]:
        for match in _LINE.finditer(text):
            self.line += 1
            if self.line > limits.MAX_LINES and match.end() < len(text):
                raise _too_many_lines()
            content = match[1].lstrip(" \t")
            if content and content[0] != "#":
                indentation = match[1][: -len(content)]
                yield from self._indentation(indentation)
                yield from self._content(content, len(indentation))
                yield Token("_NEWLINE", "\n", 0, self.line, len(match[1]) + 1)
        if self.block is not None:
            yield Token("_DEDENT", "\n", 0, self.line, 1)

    def _indentation(self, indentation: str) -> Iterator[Token]:
        if self.block is None:
            if indentation:
                if " " in indentation and "\t" in indentation:
                    raise parse_error("the indentation mixes spaces and tabs", self.line, 1)
                self.block = indentation
                yield Token("_INDENT", "", 0, self.line, 1)
        elif not indentation:
            self.block = None
            yield Token("_DEDENT", "\n", 0, self.line, 1)
        elif indentation != self.block:
            raise parse_error("the indentation differs from that of the line before", self.line, 1)

    def _content(self, content: str, column: int) -> Iterator[Token]:
        if self.block is not None and self.rows_expected:
            values = self._plain_row(content) if _PLAIN_ROW.fullmatch(content) else None
            if values is not None:
                yield _token("ROW", "", self.line, column + 1, values)
                return
        elif match := _PLAIN_STATEMENT.fullmatch(content):
            statement = self._plain_statement(match, column + 1)
            if statement is not None:
                yield statement
                return
        start = 0
        if header := _HEADER.match(content):
            start = yield from self._header(content, header)
        yield from self._words(content, start, column)

    def _plain_row(self, content: str) -> list[int] | list[float] | list[complex] | None:
        """Return the numbers of a row, or None if the grammar must parse or reject it."""
        self.row_elements += 1 + content.count(",")
        if self.row_elements > limits.MAX_ARRAY_ELEMENTS:
            raise parse_error(f"arrays may have {limits.MAX_ARRAY_ELEMENTS} elements at most", self.line, 1)
        parts = content.split(",")
        if max(map(len, parts)) > limits.MAX_NUMBER_CHARACTERS:
            return None
        try:
            if "j" in content or "J" in content:
                numbers = list(map(complex, parts))
                return numbers if all(map(cmath.isfinite, numbers)) else None
            if "." in content or "e" in content or "E" in content:
                floats = list(map(float, parts))
                return floats if all(map(math.isfinite, floats)) else None
            return list(map(int, parts))
        except ValueError:
            return None

    def _plain_statement(self, match: re.Match[str], column: int) -> Token | None:
        """
        Return a whole statement of plain numbers as one token, which is ten times faster; nearly all statements that compilers
        emit are of this kind. Return None if the grammar must parse or reject it.
        """
        name, arguments, several, single = match.groups()
        if name in _WORDS or len(name) > limits.MAX_NAME_CHARACTERS:
            return None
        self._count(_numbers_in(arguments) + _numbers_in(several), column)
        parts = arguments.split(",") if arguments and not arguments.isspace() else []
        modes = several.split(",") if several else [single]
        if max(map(len, (*parts, *modes))) > limits.MAX_NUMBER_CHARACTERS:
            return None
        try:
            values = tuple([int(part) if part.strip(" \t+-").isdigit() else float(part) for part in parts])
            numbers = tuple(map(int, modes))
        except ValueError:
            return None
        if not all(map(_is_plain, values)) or max(numbers) >= limits.MAX_MODES or len(set(numbers)) < len(numbers):
            return None
        self.rows_expected = False
        return _token("PLAIN_STATEMENT", name, self.line, column, (values, numbers))

    def _count(self, tokens: int, column: int) -> None:
        self.tokens += tokens
        if self.tokens > limits.MAX_TOKENS:
            raise parse_error(f"a program may have {limits.MAX_TOKENS} words and symbols at most", self.line, column)

    def _header(self, content: str, header: re.Match[str]) -> Generator[Token, None, int]:
        """Yield the tokens of a header line; return where the rest begins."""
        keyword, start = header[1], header.end()
        if keyword == "include":
            raise parse_error("include is not supported: a program must be one text", self.line, 1)
        yield Token(HEADER_TOKENS[keyword], keyword, 0, self.line, 1)
        if keyword == "type":
            return start
        if keyword == "target":
            device = _DEVICE.match(content, start)
            text, end = (device[0], device.end()) if device else ("", start)
        else:
            text, end = content[start:].partition("#")[0].strip(), len(content)
        if not text:
            raise parse_error(f"{keyword} needs a value", self.line, start + 1)
        if len(text) > (limit := limits.MAX_NAME_CHARACTERS):
            raise parse_error(f"this {keyword} has more than {limit} characters", self.line, start + 1)
        yield Token("TEXT", text, 0, self.line, start + 1)
        return end

    def _words(self, content: str, position: int, indentation: int) -> Iterator[Token]:
        line, nesting, operators, pattern, kind = self.line, 0, 0, _VALUE_NEXT, ""
        while True:
            match = pattern.match(content, position)
            if match is None:
                raise self._unreadable(content, position, indentation)
            group = match.lastgroup
            if group is None or group in {"END", "COMMENT"}:
                break
            position = match.end()
            column = match.start(group) + indentation + 1
            token = _read_token(group, match[group], line, column)
            if kind and token in COMPLEX_FUNCTIONS and content.startswith("(", position):
                token.type = "FUNCTION"  # without a bracket, or at the beginning of a line, it is any other name
            kind = token.type
            if kind in _NESTING:
                nesting += _NESTING[kind]
                if nesting > limits.MAX_NESTING:
                    raise parse_error(f"brackets may be nested {limits.MAX_NESTING} deep at most", line, column)
            elif kind in {"SIGN", "TIMES", "POWER"}:
                operators += 1
                if operators > limits.MAX_OPERATORS:
                    raise parse_error(f"an expression may have {limits.MAX_OPERATORS} operators at most", line, column)
            elif kind in {"_COMMA", "_BAR"}:
                operators = 0
            self._count(_GRAMMAR_COST, column)
            pattern = _OPERATOR_NEXT if kind in _ENDS_A_VALUE else _VALUE_NEXT
            yield token
        if self.block is None:
            self.rows_expected = kind == "_EQUALS"

    def _unreadable(self, content: str, position: int, indentation: int) -> Exception:
        rest = content[position:].lstrip(" \t")
        column = len(content) - len(rest) + indentation + 1
        if rest[0] == '"':
            return parse_error("this string is not closed", self.line, column)
        return parse_error(f"the character {rest[0]!r} has no meaning here", self.line, column)


def _token(kind: str, text: str, line: int, column: int, value: object) -> Token:
    token = Token(kind, text, 0, line, column)
    token.value = value
    return token


def _read_token(group: str, text: str, line: int, column: int) -> Token:
    match group:
        case "SYMBOL":
            return Token(SYMBOLS[text], text, 0, line, column)
        case "WORD":
            return _word(text, line, column)
        case "STRING":
            return _token("STRING", text, line, column, text[1:-1])
        case "AMBIGUOUS":
            raise parse_error("write the complex number in parentheses", line, column)
    return _token("NUMBER", text, line, column, _number(text, line, column))


def _word(text: str, line: int, column: int) -> Token:
    if len(text) > limits.MAX_NAME_CHARACTERS:
        raise parse_error(f"a name may have {limits.MAX_NAME_CHARACTERS} characters at most", line, column)
    if kind := _WORDS.get(text):
        return _token(kind, text, line, column, _WORD_VALUES.get(text, text))
    if text[0] != "q" or not text[1:].isdigit():
        return Token("IDENTIFIER", text, 0, line, column)
    if len(text) > 5 or int(text[1:]) >= limits.MAX_MODES:
        raise parse_error(f"{text[:20]}: modes are numbered 0 to {limits.MAX_MODES - 1}", line, column)
    return _token("MEASURED", text, line, column, int(text[1:]))


def _numbers_in(listed: str | None) -> int:
    return 1 + listed.count(",") if listed else 1


def _is_plain(value: int | float) -> bool:
    return abs(value) <= limits.MAX_INTEGER if isinstance(value, int) else math.isfinite(value)


def _number(text: str, line: int, column: int) -> int | float | complex:
    if len(text) > limits.MAX_NUMBER_CHARACTERS:
        raise parse_error(f"a number may have {limits.MAX_NUMBER_CHARACTERS} characters at most", line, column)
    if text.isdigit():
        integer = int(text)
        if integer > limits.MAX_INTEGER:
            raise parse_error(f"the integer {text} has more than 63 bits", line, column)
        return integer
    value = complex(text) if text[-1] in "jJ" else float(text)
    if not (math.isfinite(value.real) and math.isfinite(value.imag)):
        raise parse_error(f"{text} is too large", line, column)
    return value
