"""The values of one row: is a text a text, which golds does an answers value state."""

from __future__ import annotations

import json
from typing import Any

Golds = tuple[list[str], list[int | None]]

FORMS = "{text: [...], answer_start: [...]}, a list of {text, answer_start}, one {text, answer_start}, or a text"

_FLAGS = {None: False, "": False, "0": False, "false": False, "1": True, "true": True}


class ShapeError(Exception):
    """A value of the wrong shape, told so that it ends a sentence which names the row and the column."""


def describe(value: Any) -> str:
    """What a wrong value is, in the words of an error message."""
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


def parse_flag(value: Any) -> bool:
    """A truth value of JSON, Arrow or CSV (``True``, ``1``, empty); null is False.

    Raises:
        ShapeError: Where it is none of these.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, dict | list):
        raise ShapeError(f"{describe(value)}, not true or false")
    flag = _FLAGS.get(value if value is None else str(value).strip().lower())
    if flag is None:
        raise ShapeError(f"{value!r:.40}, not true or false")
    return flag


def parse_golds(value: Any) -> Golds:
    """The gold texts and their stated starts in characters (None where none is stated).

    Args:
        value: One of the forms of ``FORMS``; a list of plain texts too. No text, an empty list or a blank
            plain text mean that the question is unanswerable.

    Raises:
        ShapeError: Saying what is wrong with the value.
    """
    texts: Any
    starts: Any
    if isinstance(value, str):
        if "answer_start" in value and value.lstrip().startswith(("{", "[")):
            raise ShapeError("a text that looks like one of these but is not JSON")
        texts, starts = ([value], [None]) if value.strip() else ([], [])
    elif isinstance(value, dict):
        texts, starts = value.get("text"), value.get("answer_start")
        if isinstance(texts, str):
            texts, starts = [texts], [starts]
        elif isinstance(texts, list) and starts is None:
            starts = [None] * len(texts)
    elif isinstance(value, list):
        items = [{"text": item} if isinstance(item, str) else item for item in value]
        if not all(isinstance(item, dict) for item in items):
            wrong = next(item for item in items if not isinstance(item, dict))
            raise ShapeError(f"a list that holds {describe(wrong)}")
        texts = [item.get("text") for item in items]
        starts = [item.get("answer_start") for item in items]
    else:
        raise ShapeError(describe(value))
    _check_golds(texts, starts)
    return texts, starts


def lists_answers(value: Any) -> bool:
    """Whether answers that `parse_golds` can read list any, though it be one without a text."""
    if isinstance(value, dict):
        value = value.get("text")
    return len(value) > 0 if isinstance(value, list) else isinstance(value, str) and bool(value.strip())


def _check_golds(texts: Any, starts: Any) -> None:
    if not isinstance(texts, list):
        raise ShapeError(f"text is {describe(texts)}")
    for text in texts:
        try:
            check_text(text)
        except ShapeError as error:
            raise ShapeError(f"text is {error}") from None
    if not isinstance(starts, list):
        raise ShapeError(f"answer_start is {describe(starts)}, text is a list")
    if len(starts) != len(texts):
        raise ShapeError(f"as many answer_start ({len(starts)}) as text ({len(texts)}) are needed")
    for start in starts:
        if start is not None and (type(start) is not int or not -(2**31) <= start < 2**31):
            raise ShapeError(f"answer_start is {describe(start)}, not a whole number")


def parse_cell(cell: str) -> Any:
    """The answers in a CSV cell: what its JSON states if it is one of ``FORMS``, else the text as it is.

    A bracket alone makes no JSON of an answer: ``[1]`` and ``{x}`` stay plain text.
    """
    if cell.lstrip().startswith(("{", "[")):
        try:
            value = json.loads(cell)
            parse_golds(value)
        except (ValueError, ShapeError, RecursionError):
            return cell
        return value
    return cell
