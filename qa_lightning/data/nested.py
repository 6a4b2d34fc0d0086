"""Reads questions from JSON in every usual nesting: articles of paragraphs, paragraphs, rows, columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qa_lightning.data.values import describe
from qa_lightning.utils.errors import UserError

Record = dict[str, Any]

HINT = (
    "a list of rows with id, question, context and answers is read, as is SQuAD's nesting: "
    "data → paragraphs → context and qas → id, question and answers"
)
"""The forms that can be read, for messages about one that cannot."""


def find_records(document: Any, source: str, wanted: set[str]) -> list[Record]:
    """Finds the objects in a JSON document: rows, SQuAD's articles or its paragraphs.

    Args:
        document: A list of them, an object that holds it as ``data``, a single article or paragraph, or an object
            of columns, each a list, or an object by row as pandas writes it.
        source: Its name in messages.
        wanted: The columns that an object of columns must have.

    Raises:
        UserError: Where it is none of these.
    """
    if isinstance(document, dict):
        if "data" in document:
            data = document["data"]
            return [data] if _is_nested(data) else check_objects(data, source)
        if _is_nested(document):
            return [document]
        columns = {name: list(value.values()) if isinstance(value, dict) else value for name, value in document.items()}
        lengths = {len(value) if isinstance(value, list) else -1 for value in columns.values()}
        if wanted <= columns.keys() and len(lengths) == 1 and -1 not in lengths:
            return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        names = f"; its keys are {', '.join(map(str, document)):.200}" if document else ""
        raise UserError(f"{source}: expected a list of rows, or an object with `data`{names}; {HINT}")
    return check_objects(document, source)


def flatten(records: list[Record], source: str, context: str, group: str | None = None) -> Iterator[Record]:
    """Flattens articles and paragraphs into one row per question, with its paragraph's context; keeps rows as they are.

    Args:
        records: Rows, articles (which have ``paragraphs``) and paragraphs (which have ``qas``).
        source: Their name in messages.
        context: What contexts are called.
        group: A value of articles or paragraphs that their questions get, too, such as ``title``.
    """
    for number, record in enumerate(records, 1):
        if "paragraphs" in record:
            article = f"{source}, article {number}"
            for position, paragraph in enumerate(check_objects(record["paragraphs"], f"{article}, paragraphs"), 1):
                of_article = {group: record[group]} if group in record else {}
                yield from _flatten_paragraph(
                    of_article | paragraph, f"{article}, paragraph {position}", context, group
                )
        elif "qas" in record:
            yield from _flatten_paragraph(record, f"{source}, paragraph {number}", context, group)
        elif record.keys() != {"header"}:  # MRQA's files begin with one
            yield record


def check_objects(value: Any, where: str) -> list[Record]:
    """Returns the value if it is a list of objects.

    Raises:
        UserError: Where it is not.
    """
    if not isinstance(value, list):
        raise UserError(f"{where}: expected a list of objects, found {describe(value)}")
    for number, entry in enumerate(value, 1):
        if not isinstance(entry, dict):
            raise UserError(f"{where}, entry {number}: expected an object, found {describe(entry)}")
    return value


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict) and bool(value.keys() & {"paragraphs", "qas"})


def _flatten_paragraph(paragraph: Record, where: str, context: str, group: str | None) -> Iterator[Record]:
    if "qas" not in paragraph:
        raise UserError(f"{where}: has no `qas`, its keys are {', '.join(map(str, paragraph)) or 'none'}; {HINT}")
    shared = {context: paragraph[context]} if context in paragraph else {}
    of_paragraph = {group: paragraph[group]} if group in paragraph else {}
    for question in check_objects(paragraph["qas"], f"{where}, qas"):
        if context not in paragraph and context not in question:
            raise UserError(
                f"{where}: has no {context!r}, its keys are {', '.join(map(str, paragraph))}; "
                "name the right one with `column_names: {context: ...}`"
            )
        yield {**of_paragraph, **question, **shared}
