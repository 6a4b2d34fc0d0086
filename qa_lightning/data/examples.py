"""The table of examples that all later stages read, made from rows of any source."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_lightning.data.readers import Columns, Rows
from qa_lightning.data.values import FORMS, ShapeError, check_text, lists_answers, parse_flag, parse_golds
from qa_lightning.errors import UserError

EXAMPLES = pa.schema(
    [
        # Unique within the table.
        pa.field("id", pa.string()),
        # The question as published, never blank.
        pa.field("question", pa.string()),
        # The text that answers are cut from, never blank; the dictionary holds each distinct one once, in
        # the order of first use, and none that no question uses.
        pa.field("context", pa.dictionary(pa.int32(), pa.string())),
        # The published answers; empty: the question is unanswerable; null: they are not known.
        pa.field("gold_texts", pa.list_(pa.string())),
        # Parallel to gold_texts: the first character of each as the source states it, unchecked; an entry is
        # null where none is stated.
        pa.field("gold_starts", pa.list_(pa.int32())),
    ]
)
"""One row per question, in published order; each column is one chunk."""

T = TypeVar("T")


def make_examples(
    rows: Rows,
    columns: Columns,
    *,
    labelled: bool,
    required: set[str],
    training: bool = False,
    as_published: bool = False,
) -> pa.Table:
    """Checks the shape of every row and gives them the columns of ``EXAMPLES``, and three more.

    These are ``file`` (the source's name), ``row`` (int32, from 1) and ``made`` (bool: the id is ours), for
    messages and counts.

    Args:
        rows: What a reader found.
        columns: Our names of columns and what the source calls them.
        labelled: Whether golds must be known.
        required: Our names of the columns that must be there.
        training: Whether ``is_impossible`` makes a question with answers unanswerable. In evaluation the answers
            decide, as in the official script.
        as_published: Whether also a question all of whose answers are without a text counts as answerable, with
            the empty text as its gold, as in the official script.

    Raises:
        UserError: A missing column, a value of the wrong shape, or an id that occurs twice.
    """
    if rows.count:
        _check_columns(rows, columns, required)
    nothing = [None] * rows.count
    values = {name: rows.columns.get(name, nothing) for name in columns}
    questions: list[str] = _each(rows, "question", values["question"], _text)
    contexts: list[str] = _each(rows, "context", values["context"], _text)
    answers, impossible = values["answers"], values["is_impossible"]
    gold_texts, gold_starts = _golds(
        rows, answers, impossible, labelled=labelled, training=training, as_published=as_published
    )
    ids, made = _ids(rows, values["id"], questions, contexts)
    distinct: dict[str, int] = {}
    indices = [distinct.setdefault(context, len(distinct)) for context in contexts]
    return pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "question": pa.array(questions, pa.string()),
            "context": pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), pa.array(distinct, pa.string())),
            "gold_texts": gold_texts,
            "gold_starts": gold_starts,
            "file": pa.DictionaryArray.from_arrays(np.zeros(rows.count, np.int32), [rows.source]),
            "row": np.arange(1, rows.count + 1, dtype=np.int32),
            "made": pa.array(made, pa.bool_()),
        }
    )


def compact(table: pa.Table) -> pa.Table:
    """The same rows in one chunk, with only the contexts that they use, in the order of first use.

    Args:
        table: At least one row; a column ``context`` as in ``EXAMPLES``.
    """
    table = table.unify_dictionaries().combine_chunks()
    context = table["context"].chunk(0)
    used = context.indices.unique()
    context = pa.DictionaryArray.from_arrays(pc.index_in(context.indices, used), context.dictionary.take(used))
    return table.set_column(table.column_names.index("context"), "context", context)


def where(table: pa.Table, row: int) -> str:
    """How messages name a row (from 0) of a table of ``make_examples``: file, row and id."""
    file, number, name = (table[column][row].as_py() for column in ("file", "row", "id"))
    return f"{file}, row {number} (id {name!r:.80})"


def _check_columns(rows: Rows, columns: Columns, required: set[str]) -> None:
    for ours in columns:
        if ours in required and ours not in rows.columns:
            raise UserError(
                f"{rows.source}: no column {columns[ours]!r}; the columns are {', '.join(rows.names)}; "
                f"name the right one with `column_names: {{{ours}: ...}}`"
            )


def _each(rows: Rows, name: str, values: list[Any], parse: Callable[[Any], T]) -> list[T]:
    """Every value parsed; a ShapeError becomes one that names file, row and id."""
    parsed = []
    for row, value in enumerate(values):
        try:
            parsed.append(parse(value))
        except ShapeError as error:
            raise UserError(f"{rows.where(row)}: {name} is {error}") from error
    return parsed


def _text(value: Any) -> str:
    check_text(value)
    return value


def _id(value: Any) -> str | None:
    """The id as text; None where one must be made."""
    if value is None or value == "":
        return None
    text = str(value) if isinstance(value, int | float) else value
    return _text(text)


def _golds(
    rows: Rows, answers: list[Any], impossible: list[Any], *, labelled: bool, training: bool, as_published: bool
) -> tuple[pa.ListArray, pa.ListArray]:
    """The columns ``gold_texts`` and ``gold_starts``."""
    flags = _each(rows, "is_impossible", impossible, parse_flag)
    # All golds one after the other: lists of every row's own would be most of the memory that is held here.
    texts: list[str] = []
    starts: list[int | None] = []
    bounds = [0]
    unknown = []
    for row, (value, flag) in enumerate(zip(answers, flags, strict=True)):
        unknown.append(value is None and not flag and not labelled)
        if not unknown[-1] and not (flag and (training or value is None)):
            try:
                more_texts, more_starts = parse_golds(value)
            except ShapeError as error:
                raise UserError(f"{rows.where(row)}: answers must be {FORMS}; here is {error}") from error
            if not any(map(str.strip, more_texts)) and (flag or as_published):
                some = as_published and lists_answers(value)
                more_texts, more_starts = ([""], [None]) if some else ([], [])
            texts += more_texts
            starts += more_starts
        bounds.append(len(texts))
    offsets, mask = pa.array(bounds, pa.int32()), pa.array(unknown, pa.bool_())
    columns = (pa.array(texts, pa.string()), pa.array(starts, pa.int32()))
    gold_texts, gold_starts = (pa.ListArray.from_arrays(offsets, column, mask=mask) for column in columns)
    return gold_texts, gold_starts


def _ids(rows: Rows, values: list[Any], questions: list[str], contexts: list[str]) -> tuple[list[str], list[bool]]:
    """Unique ids, the published ones as they are, and which of them were made."""
    published = _each(rows, "id", values, _id)
    seen: dict[str, int] = {}
    for row, name in enumerate(published):
        if name is not None and seen.setdefault(name, row) != row:
            raise UserError(
                f"{rows.source}: rows {seen[name] + 1} and {row + 1} have the same id {name!r}; "
                "ids must be unique within a file"
            )
    ids = []
    for row, name in enumerate(published):
        ids.append(_made_id(questions[row], contexts[row], seen) if name is None else name)
    return ids, [name is None for name in published]


def _made_id(question: str, context: str, seen: dict[str, int]) -> str:
    """An id from content alone, so that it stays the same wherever the row stands; repeats are numbered."""
    digest = hashlib.blake2b(f"{question}\0{context}".encode(), digest_size=12).hexdigest()
    name, number = digest, 1
    while name in seen:
        number += 1
        name = f"{digest}-{number}"
    seen[name] = -1
    return name
