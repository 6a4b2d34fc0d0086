"""Reads a table of words and what may stand in their place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qa_lightning.data.textfiles import read_text
from qa_lightning.utils.errors import UserError

_FORMS = 'JSON such as {"big": ["large", "huge"]}, or TSV with a word and its replacements in each row'

Row = tuple[str, list[str]]


def read_replacements(file: str, encoding: str | None = None) -> dict[str, list[str]]:
    """Reads a table of replacements; entries of a word that occurs twice are joined.

    Args:
        file: A JSON object of a word → its replacement, or a list of them; or a TSV file, whose name ends in ``.tsv``
            or ``.txt``, with a word and its replacements in each row.
        encoding: The file's encoding; None: UTF-8.

    Returns:
        The replacements of each word, which is given with its case folded.

    Raises:
        UserError: Names the file, and the row or word where there is one that is wrong.
    """
    path = Path(file)
    try:
        text = read_text(path, encoding)
    except OSError as error:
        raise UserError(f"data.augmentation.replacements: {path}: cannot be read: {error.strerror or error}") from error
    rows = _tsv_rows(path, text) if path.suffix.lower() in (".tsv", ".txt") else _json_rows(path, text)
    table: dict[str, list[str]] = {}
    for word, replacements in rows:
        table.setdefault(word.casefold(), []).extend(replacements)
    if not table:
        raise UserError(f"data.augmentation.replacements: {path}: holds no word; it is to be {_FORMS}")
    return table


def _tsv_rows(path: Path, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            word, *replacements = (cell.strip() for cell in line.split("\t"))
            yield _checked_row(path, f"row {number}", word, replacements)


def _json_rows(path: Path, text: str) -> Iterator[Row]:
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        row = getattr(error, "lineno", None)
        where = "" if row is None else f", row {row}"
        raise UserError(
            f"data.augmentation.replacements: {path}{where}: not JSON ({getattr(error, 'msg', error)}); "
            f"it is to be {_FORMS}"
        ) from error
    if not isinstance(table, dict):
        raise UserError(f"data.augmentation.replacements: {path}: holds no object; it is to be {_FORMS}")
    for word, replacements in table.items():
        listed = replacements if isinstance(replacements, list) else [replacements]
        yield _checked_row(path, f"the word {word!r:.40}", word, listed)


def _checked_row(path: Path, where: str, word: str, replacements: list[Any]) -> Row:
    if not word or word.split() != [word]:
        wrong = f"{word!r:.40} is not one word"
    elif not replacements or not all(isinstance(text, str) and text.strip() for text in replacements):
        wrong = "there is no replacement, or an empty one"
    else:
        return word, replacements
    raise UserError(f"data.augmentation.replacements: {path}, {where}: {wrong}; the table is to be {_FORMS}")
