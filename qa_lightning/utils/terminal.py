"""Makes text from elsewhere safe to print, and short enough to be read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

NO_ANSWER = "(no answer)"
"""What stands in tables for an empty answer."""

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)?")
_LONGEST_WORD = 240
_LONGEST_LINE = 1500


def printable(text: str) -> str:
    """Replaces what a terminal would obey, such as escape sequences hidden in data, by spaces."""
    return "".join(character if character.isprintable() else " " for character in text)


def plain_text(text: str, style: str = "") -> Text:
    """Makes a text for rich's tables and consoles that is nothing but text: neither markup nor escape sequences.

    Args:
        text: The text, which may be data.
        style: How rich shows it.
    """
    from rich.text import Text

    return Text(printable(text), style=style)


def list_answers(texts: Iterable[str]) -> str:
    """Lists answers in one cell of a table, none of them twice."""
    return " | ".join(dict.fromkeys(texts))


def one_line(text: str) -> str:
    """Makes one readable line of a text: without colours and line breaks, very long words and ends cut out.

    What is cut out is replaced by ``…``.
    """
    words = [shortened(word, _LONGEST_WORD) for word in printable(_ESCAPES.sub("", text)).split()]
    return shortened(" ".join(words), _LONGEST_LINE)


def shortened(text: str, most: int) -> str:
    """Cuts the middle out of a text of more than ``most`` characters, which is then its length."""
    if len(text) <= most:
        return text
    end = most // 4
    return f"{text[: most - end - 1]}…{text[-end:]}"
