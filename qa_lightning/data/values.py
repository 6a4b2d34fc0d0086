"""Checks and parses the values of one row: texts, flags and golds."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from itertools import compress
from typing import Any

from qa_lightning.data.cells import parse_printed

RawGolds = tuple[list[str], list[int | None]]
"""Gold texts of a question and their stated starts; None where none is stated."""

FORMS = "{text: [...], answer_start: [...]}, a list of {text, answer_start}, one {text, answer_start}, or a text"

_FLAGS: dict[str | None, bool] = {
    None: False,
    **dict.fromkeys(("", "0", "0.0", "false", "nan", "none", "null", "<na>"), False),
    **dict.fromkeys(("1", "1.0", "true"), True),
}

_OFFSET_LIMIT = 2**31
"""Offsets are below this."""

_WHOLE = re.compile(r"\s*[-+]?[0-9]{1,15}(?:\.0*)?\s*")


PRINTED_NULLS = frozenset({"nan", "none", "null", "<na>", "{}"})
"""Words, in lower case, that programs print for a missing value."""


class ShapeError(Exception):
    """A value of the wrong shape; the message is the end of a sentence that names the row and the column."""


def describe(value: Any) -> str:
    """Describes a wrong value for an error message."""
    if value is None:
        return "null or missing"
    return {str: "a text", dict: "an object", list: "a list", bool: "a truth value"}.get(type(value), f"{value!r:.40}")


def check_text(value: Any) -> None:
    """Raises ShapeError where the value is no text, or one that no file can hold (a lone surrogate)."""
    if not isinstance(value, str):
        raise ShapeError(f"{describe(value)}, not a text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ShapeError(f"a text with half a surrogate pair at character {error.start}") from None


def is_missing(value: Any) -> bool:
    """Whether there is no value: null, or the NaN that pandas puts into its place."""
    return value is None or value != value  # NaN differs from itself


def parse_flag(value: Any) -> bool:
    """Parses a truth value of JSON, Arrow or CSV (``True``, ``1``, ``1.0``, empty); null is False.

    Raises:
        ShapeError: Where it is none of these.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, dict | list):
        raise ShapeError(f"{describe(value)}, not true or false")
    flag = _FLAGS.get(None if is_missing(value) else str(value).strip().lower())
    if flag is None:
        raise ShapeError(f"{value!r:.40}, not true or false")
    return flag


def parse_golds(value: Any, start_column: Any = None) -> RawGolds:
    """Parses the gold texts and their stated starts (None where none is stated); without golds, there is no answer.

    Args:
        value: One of the forms of ``FORMS``, a list of plain texts too, or null. Texts that are null or blank are
            no golds.
        start_column: The starts that a separate column states, one or a list; used where ``value`` states none.

    Raises:
        ShapeError: Saying what is wrong with the value.
    """
    texts, starts = _texts_and_starts(parse_cell(value) if isinstance(value, str) else value)
    golds = [_is_gold(text) for text in texts]
    if len(texts) == 1 and not isinstance(starts, list):
        starts = [starts]
    if not isinstance(starts, list):
        raise ShapeError(f"answer_start is {describe(starts)}, text is a list")
    if not starts and not any(golds):
        return [], []
    if len(starts) != len(texts):
        raise ShapeError(f"as many answer_start ({len(starts)}) as text ({len(texts)}) are needed")
    starts = [start if type(start) is int and -1 <= start < _OFFSET_LIMIT else _whole_number(start) for start in starts]
    if start_column is not None and any(golds) and all(start is None for start in starts):
        starts = _starts_from_column(start_column, len(texts))
    starts = [None if start is not None and start < 0 else start for start in starts]
    if all(golds):
        return texts, starts
    return list(compress(texts, golds)), list(compress(starts, golds))


def _is_gold(text: Any) -> bool:
    """Whether the text is neither null nor blank."""
    if is_missing(text):
        return False
    try:
        check_text(text)
    except ShapeError as error:
        raise ShapeError(f"text is {error}") from None
    return text != "" and not text.isspace()


def _texts_and_starts(value: Any) -> tuple[list[Any], Any]:
    """The texts and the starts of each form, as they are; both empty where it is null or empty."""
    if is_missing(value) or value == {}:
        return [], []
    if isinstance(value, str):
        if "answer_start" in value and value.lstrip().startswith(("{", "[")):
            raise ShapeError("a text that looks like one of these but is not JSON")
        return [value], [None]
    if isinstance(value, dict):
        if "text" not in value:
            raise ShapeError("text is null or missing")
        texts, starts = value["text"], value.get("answer_start")
        if isinstance(texts, str) or is_missing(texts):
            return [texts], starts if isinstance(starts, list) else [starts]
        if not isinstance(texts, list):
            raise ShapeError(f"text is {describe(texts)}")
        return texts, [None] * len(texts) if is_missing(starts) else starts
    if isinstance(value, list):
        of_items = []
        for item in value:
            if isinstance(item, dict):
                if "text" not in item:
                    raise ShapeError("text is null or missing, not a text")
                of_items.append((item["text"], item.get("answer_start")))
            elif isinstance(item, str) or is_missing(item):
                of_items.append((item, None))
            else:
                raise ShapeError(f"a list that holds {describe(item)}")
        return [text for text, _ in of_items], [start for _, start in of_items]
    raise ShapeError(describe(value))


def _is_printed_null_word(text: str) -> bool:
    return text.strip().lower() in PRINTED_NULLS


def is_printed_null(texts: list[str], starts: list[int | None], context: str) -> bool:
    """Whether the only gold is a missing value that a program printed (``nan``, ``None``), not words of the context."""
    return len(texts) == 1 and starts == [None] and _is_printed_null_word(texts[0]) and texts[0] not in context


def lists_answers(value: Any) -> bool:
    """Whether answers that `parse_golds` can read list any, though it be one without a text."""
    if isinstance(value, str):
        value = parse_cell(value)
    if isinstance(value, dict):
        value = value.get("text")
    return len(value) > 0 if isinstance(value, list) else isinstance(value, str) and bool(value.strip())


def _starts_from_column(value: Any, count: int) -> list[int | None]:
    """The starts that a separate column states for ``count`` texts."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = parse_printed(value)
        except (ValueError, RecursionError):
            raise ShapeError(f"answer_start is {value!r:.40}, not a whole number") from None
    starts = value if isinstance(value, list) else [value]
    if all(_whole_number(start) is None for start in starts):
        return [None] * count
    if len(starts) != count:
        raise ShapeError(f"as many answer_start ({len(starts)}) as text ({count}) are needed")
    return [_whole_number(start) for start in starts]


def _whole_number(value: Any) -> int | None:
    """A number that is whole, however it is written (``32``, ``32.0``, ``"32"``); None where there is none."""
    if is_missing(value) or (isinstance(value, str) and (not value.strip() or _is_printed_null_word(value))):
        return None
    number = None
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        number = int(value.partition(".")[0])
    elif isinstance(value, int | float | Decimal) and not isinstance(value, bool) and value % 1 == 0:
        number = int(value)
    if number is None or not -_OFFSET_LIMIT <= number < _OFFSET_LIMIT:
        shown = f"{value!r:.40}" if isinstance(value, str) else describe(value)
        raise ShapeError(f"answer_start is {shown}, not a whole number")
    return number


def parse_cell(cell: str) -> Any:
    """Parses the answers in a CSV cell: one of ``FORMS`` as JSON or as Python and NumPy print it, else a text.

    A bracket alone makes no list of an answer: ``[1]`` and ``{x}`` stay plain text.
    """
    if cell.lstrip().startswith(("{", "[")) and cell.strip() != "{}":
        for read in (json.loads, parse_printed):
            try:
                value = read(cell)
                parse_golds(value)
            except (ValueError, ShapeError, RecursionError):
                continue
            return value
    return cell
