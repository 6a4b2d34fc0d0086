"""Lists and objects as Python, NumPy and pandas print them into a cell of a table, read without running anything."""

from __future__ import annotations

import ast
import re
from typing import Any

_ESCAPE = r"""\\(?:[\\'"abfnrtv]|x[0-9a-f]{2}|u[0-9a-f]{4}|U00(?:0[0-9a-f]|10)[0-9a-f]{4})"""

_TOKEN = re.compile(
    rf"""\s*(?:
      (?P<text>'(?:[^'\\\n\r\0]|{_ESCAPE})*'|"(?:[^"\\\n\r\0]|{_ESCAPE})*")
    | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)
    | (?P<name>[A-Za-z_][\w.]*)
    | (?P<mark>[][(){{}}:,=])
    )""",
    re.VERBOSE | re.DOTALL,
)
"""A token of a printed value."""

_CONSTANTS: dict[str, bool | None] = {"None": None, "null": None, "nan": None, "NaN": None}
_CONSTANTS |= {"True": True, "False": False, "true": True, "false": False}

_WRAPPER = re.compile(r"(?:np\.|numpy\.)?(?:array|str_|int\d*|float\d*)")
"""A constructor that may be printed around a value."""

_CLOSING = {"[": "]", "(": ")"}


def parse_printed(cell: str) -> Any:
    """Parses the value that a cell shows: ``['a', 'b']``, ``{'text': array(['a'], dtype=object)}``, ``[3 5]``.

    Lists, tuples and arrays become lists, whether commas part what is in them (Python) or spaces (NumPy); ``nan``
    becomes None.

    Raises:
        ValueError: Where it shows none.
    """
    parser = _CellParser(cell)
    value = parser.parse_value()
    if parser.kind is not None:
        raise ValueError(f"not a printed value from character {parser.at} on")
    return value


class _CellParser:
    """Parses a cell, token by token.

    Attributes:
        at: Where the next token begins.
        kind: Which kind of token it is; None at the end.
    """

    def __init__(self, cell: str) -> None:
        self._cell = cell.rstrip()
        self._end = 0
        self.kind: str | None = None
        self._text = ""
        self._advance()

    def parse_value(self) -> Any:
        kind, text = self.kind, self._text
        self._advance()
        if kind == "text":
            return ast.literal_eval(text)  # one literal, whose escapes are known
        if kind == "number":
            return int(text) if text.lstrip("+-").isdigit() else float(text)
        if kind == "name" and self._text == "(" and _WRAPPER.fullmatch(text):
            return self._parse_wrapped()
        if kind == "name" and text in _CONSTANTS:
            return _CONSTANTS[text]
        if text in _CLOSING:
            return self._parse_list(_CLOSING[text])
        if text == "{":
            return self._parse_object()
        raise self._error()

    def _parse_list(self, closing: str) -> list[Any]:
        values = []
        while self._text != closing:
            values.append(self.parse_value())
            if self._text == ",":
                self._advance()
        self._advance()
        return values

    def _parse_object(self) -> dict[str, Any]:
        entries = {}
        while self._text != "}":
            key = self.parse_value()
            self._expect(":")
            if not isinstance(key, str):
                raise self._error()
            entries[key] = self.parse_value()
            if self._text != "}":
                self._expect(",")
        self._advance()
        return entries

    def _parse_wrapped(self) -> Any:
        """The value in ``array(…, dtype=object)`` and its like."""
        self._advance()
        value = self.parse_value()
        while self._text == ",":
            self._advance()
            if self.kind != "name":
                raise self._error()
            self._advance()
            self._expect("=")
            if self.kind not in ("name", "text"):
                raise self._error()
            self._advance()
        self._expect(")")
        return value

    def _expect(self, text: str) -> None:
        if self._text != text:
            raise self._error()
        self._advance()

    def _advance(self) -> None:
        self.at = self._end
        if self._end == len(self._cell):
            self.kind, self._text = None, ""
            return
        part = _TOKEN.match(self._cell, self._end)
        if part is None:
            raise self._error()
        self.kind, self._text, self._end = part.lastgroup, part[part.lastgroup or 0], part.end()

    def _error(self) -> ValueError:
        return ValueError(f"not a printed value at character {self.at}")
