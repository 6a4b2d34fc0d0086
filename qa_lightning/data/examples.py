"""The table of examples that all later stages read, made from rows of any source."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_lightning.data.nested import HINT
from qa_lightning.data.readers import ColumnNames, SourceRows
from qa_lightning.data.units import offsets_in_characters
from qa_lightning.data.values import (
    FORMS,
    ShapeError,
    check_text,
    is_missing,
    is_printed_null,
    lists_answers,
    parse_flag,
    parse_golds,
)
from qa_lightning.utils.errors import UserError

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
        # Parallel to gold_texts: the first character of each as the source states it, unchecked, but counted in
        # characters where the source counts in something else; an entry is null where none is stated.
        pa.field("gold_starts", pa.list_(pa.int32())),
    ]
)
"""One row per question, in published order; each column is one chunk."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ExampleTable:
    """The rows of one source as a table of examples.

    Attributes:
        table: The columns of ``EXAMPLES``; ``group`` where one is asked for; and for messages and counts: ``file`` (the
            source's name), ``row`` (int32, from 1), and as truth values ``made`` (the id is ours), ``renamed`` (the id
            occurred before) and ``overruled`` (there are answers, which count for nothing because the question is said
            to have none).
        offsets: What there is to say of the source's offsets, behind "offsets"; empty where they are characters.
    """

    table: pa.Table
    offsets: str


def make_examples(
    rows: SourceRows,
    columns: ColumnNames,
    *,
    labelled: bool,
    required: set[str],
    training: bool,
    as_published: bool = False,
) -> ExampleTable:
    """Checks every row and makes a table of examples, with the starts of golds in characters.

    Args:
        rows: What a reader found.
        columns: Our names of columns and what the source calls them.
        labelled: Whether golds must be known.
        required: Our names of the columns that must be there.
        training: Whether ``is_impossible`` rules over answers that are there, as in transformers' training; else the
            answers rule, as in the official scoring. Also whether an id that occurs twice is made another, not refused.
        as_published: Whether also a question all of whose answers are without a text counts as answerable, with
            the empty text as its gold, as in the official script.

    Raises:
        UserError: A missing column, a value of the wrong shape, or an id that occurs twice.
    """
    if rows.count:
        _check_columns(rows, columns, required)
    nothing = [None] * rows.count
    values = {name: rows.columns.get(name, nothing) for name in columns}
    # In training a missing text is as an empty one, which is dropped and counted.
    text = _parse_text_or_empty if training else _parse_text
    questions: list[str] = _parse_column(rows, "question", values["question"], text)
    contexts: list[str] = _parse_column(rows, "context", values["context"], text)
    golds = _flatten_golds(rows, values, contexts, labelled, training, as_published)
    ids, made, renamed = _unique_ids(rows, values["id"], questions, contexts, training)
    distinct: dict[str, int] = {}
    indices = [distinct.setdefault(context, len(distinct)) for context in contexts]
    context_index = np.repeat(np.array(indices, dtype=np.int64), np.diff(golds.bounds))
    offsets = offsets_in_characters(golds.texts, golds.starts, context_index, list(distinct))
    bounds, mask = pa.array(golds.bounds, pa.int32()), pa.array(golds.unknown, pa.bool_())
    gold_texts, gold_starts = (
        pa.ListArray.from_arrays(bounds, column, mask=mask)
        for column in (pa.array(golds.texts, pa.string()), pa.array(offsets.starts, pa.int32()))
    )
    table = pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "question": pa.array(questions, pa.string()),
            "context": pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), pa.array(distinct, pa.string())),
            "gold_texts": gold_texts,
            "gold_starts": gold_starts,
            "file": pa.DictionaryArray.from_arrays(np.zeros(rows.count, np.int32), [rows.source]),
            "row": np.arange(1, rows.count + 1, dtype=np.int32),
            "made": pa.array(made, pa.bool_()),
            "renamed": pa.array(renamed, pa.bool_()),
            "overruled": pa.array(golds.overruled, pa.bool_()),
        }
    )
    if "group" in columns:
        groups = _parse_column(rows, "group", values["group"], _parse_group)
        table = table.append_column("group", pa.array(groups, pa.string()))
    return ExampleTable(table, offsets.note)


def compact(table: pa.Table) -> pa.Table:
    """Compacts a table into one chunk, with only the contexts that its rows use, in the order of first use.

    Args:
        table: At least one row; a column ``context`` as in ``EXAMPLES``.
    """
    table = table.unify_dictionaries().combine_chunks()
    context = table["context"].chunk(0)
    used = context.indices.unique()
    context = pa.DictionaryArray.from_arrays(pc.index_in(context.indices, used), context.dictionary.take(used))
    return table.set_column(table.column_names.index("context"), "context", context)


def describe_row(table: pa.Table, row: int) -> str:
    """Describes a row (from 0) of a table of `make_examples` for messages: file, row and id."""
    file, number, name = (table[column][row].as_py() for column in ("file", "row", "id"))
    return f"{file}, row {number} (id {name!r:.80})"


def _check_columns(rows: SourceRows, columns: ColumnNames, required: set[str]) -> None:
    for ours in columns:
        if ours in required and ours not in rows.columns:
            hint = f"name the right one with `column_names: {{{ours}: ...}}`"
            if rows.nested and ours in ("question", "context"):
                hint = f"the questions may stand inside of {', '.join(rows.nested)}, which is not read: {HINT}"
            if ours == "group":
                hint = "group by one of these"
            raise UserError(
                f"{rows.source}: no column {columns[ours]!r}; the columns are {', '.join(rows.names)}; {hint}"
            )


def _parse_column(rows: SourceRows, name: str, values: list[Any], parse: Callable[[Any], T]) -> list[T]:
    """Parses every value of a column; a ShapeError becomes a UserError that names file, row and id."""
    parsed = []
    for row, value in enumerate(values):
        try:
            parsed.append(parse(value))
        except ShapeError as error:
            raise UserError(f"{rows.describe_row(row)}: {name} is {error}") from error
    return parsed


def _parse_text(value: Any) -> str:
    check_text(value)
    return value


def _parse_text_or_empty(value: Any) -> str:
    return "" if is_missing(value) else _parse_text(value)


def _parse_group(value: Any) -> str:
    return str(value) if type(value) is int else _parse_text(value)


def _parse_id(value: Any) -> str | None:
    """The id as text; None where one must be made."""
    if is_missing(value) or value == "":
        return None
    text = str(value) if isinstance(value, int | float) else value
    return _parse_text(text)


@dataclass(frozen=True, slots=True)
class _FlatGolds:
    """The golds of all rows, one after the other: lists of every row's own would be most of the memory held here.

    Attributes:
        texts: The texts.
        starts: Their stated starts.
        bounds: Row ``i`` has the golds ``bounds[i]`` to ``bounds[i + 1]``.
        unknown: Rows of which it is not known whether they have golds.
        overruled: Rows whose golds are left out because they are said to have none.
    """

    texts: list[str]
    starts: list[int | None]
    bounds: list[int]
    unknown: list[bool]
    overruled: list[bool]


def _flatten_golds(
    rows: SourceRows,
    values: Mapping[str, list[Any]],
    contexts: list[str],
    labelled: bool,
    training: bool,
    as_published: bool,
) -> _FlatGolds:
    flags = _parse_column(rows, "is_impossible", values["is_impossible"], parse_flag)
    golds = _FlatGolds([], [], [0], [], [])
    columns = zip(values["answers"], values["answer_start"], flags, strict=True)
    for row, (value, start, flag) in enumerate(columns):
        unknown = not labelled and not flag and is_missing(value)
        texts: list[str] = []
        starts: list[int | None] = []
        try:
            if not unknown:
                texts, starts = parse_golds(value, start)
        except ShapeError as error:
            if not flag:
                raise UserError(f"{rows.describe_row(row)}: answers must be {FORMS}; found {error}") from error
        if isinstance(value, str) and is_printed_null(texts, starts, contexts[row]):
            texts, starts = [], []
        elif as_published and not texts and lists_answers(value):
            texts, starts = [""], [None]
        overruled = flag and training and len(texts) > 0
        if not overruled:
            golds.texts.extend(texts)
            golds.starts.extend(starts)
        golds.bounds.append(len(golds.texts))
        golds.unknown.append(unknown)
        golds.overruled.append(overruled)
    return golds


def _unique_ids(
    rows: SourceRows, values: list[Any], questions: list[str], contexts: list[str], training: bool
) -> tuple[list[str], list[bool], list[bool]]:
    """Unique ids, the published ones as they are but for repeats; which of them were made, and which renamed."""
    published = _parse_column(rows, "id", values, _parse_id)
    seen: dict[str, int] = {}
    renamed = [name is not None and seen.setdefault(name, row) != row for row, name in enumerate(published)]
    if any(renamed) and not training:
        row = renamed.index(True)
        name = published[row]
        raise UserError(
            f"{rows.source}: rows {seen[name or ''] + 1} and {row + 1} have the same id {name!r:.80}; "
            "ids must be unique within a file"
        )
    ids = []
    for row, name in enumerate(published):
        if name is None:
            ids.append(_content_id(questions[row], contexts[row], seen))
        else:
            ids.append(_make_unique(name, seen) if renamed[row] else name)
    return ids, [name is None for name in published], renamed


def _content_id(question: str, context: str, seen: dict[str, int]) -> str:
    """An id from content alone, so that it stays the same wherever the row stands; repeats are numbered."""
    return _make_unique(hashlib.blake2b(f"{question}\0{context}".encode(), digest_size=12).hexdigest(), seen)


def _make_unique(name: str, seen: dict[str, int]) -> str:
    """The name, with a number behind it where it was seen before."""
    numbered, number = name, 1
    while numbered in seen:
        number += 1
        numbered = f"{name}-{number}"
    seen[numbered] = -1
    return numbered
