"""Reads a split of any source into a table of examples; every check of the data happens here, once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from qa_lightning.data.examples import EXAMPLES, compact, describe_row, make_examples
from qa_lightning.data.hub import read_hub
from qa_lightning.data.readers import SourceRows, read_file, rows_of_records
from qa_lightning.data.selection import Selection
from qa_lightning.data.textfiles import TextFormat
from qa_lightning.utils.errors import UserError

COLUMNS = {name: name for name in ("id", "question", "context", "answers", "answer_start", "is_impossible")}
"""Our names of the columns, and what a source calls them by default."""

MAPPABLE = ("id", "question", "context", "answers", "answer_start")


@dataclass(frozen=True, slots=True)
class RawSplit:
    """A split as it was read and checked, ready for alignment.

    Attributes:
        table: The examples, with the schema ``EXAMPLES``; at least one row. Where the source was asked for a grouping,
            also the text column ``group``.
        dropped: How many questions training dropped, by reason (``empty context``, ``empty question``).
        made_ids: How many of the table's ids were made because the source has none.
        renamed_ids: The ids that were given a number because they occurred before; training data only.
        overruled: The ids of the questions of training data that have answers and are said to have none.
        offsets: What there is to say of the offsets of files that count in something else than characters or whose
            answers stand elsewhere, by file: "read as UTF-8 bytes".
    """

    table: pa.Table
    dropped: dict[str, int]
    made_ids: int
    renamed_ids: list[str] = field(default_factory=list)
    overruled: list[str] = field(default_factory=list)
    offsets: dict[str, str] = field(default_factory=dict)


def read_examples(
    *,
    split: str,
    files: str | list[str] | None,
    dataset_name: str | None = None,
    dataset_config_name: str | None = None,
    dataset_revision: str | None = None,
    select: str | None = None,
    columns: Mapping[str, str] | None = None,
    training: bool,
    labelled: bool = True,
    version_2_with_negative: bool = False,
    as_published: bool = False,
    cache_dir: str | Path | None = None,
    text_format: TextFormat | None = None,
    group_by: str | None = None,
) -> RawSplit:
    """Reads one split.

    Args:
        split: The name of the split in messages, and what is loaded where ``select`` names nothing else.
        files: Path or paths, which are concatenated; they win over ``dataset_name``. SQuAD JSON (v1.1, v2.0),
            flat JSON, JSON Lines, CSV, TSV, Parquet, or a folder that ``save_to_disk`` wrote.
        dataset_name: A data set on the Hub.
        dataset_config_name: The configuration of the data set.
        dataset_revision: Its branch, tag or commit.
        select: A split or slices of it in the notation of ``datasets``: ``train[:5%]``, ``train[:9]+train[-9:]``.
            They count questions in published order. For files the name means nothing, but for a folder of
            several splits.
        columns: What the source calls ``id``, ``question``, ``context``, ``answers`` and ``answer_start`` (of rows
            that have text and offset in columns of their own), where it differs.
        training: Whether questions with an empty text are dropped, and those with the id of another given a number,
            rather than refused; and whether ``is_impossible`` rules over answers that are there.
        labelled: Whether every question must have golds (an empty list: unanswerable). Where not, those that
            are there are kept.
        version_2_with_negative: Whether unanswerable questions are allowed.
        as_published: Whether a question is answerable as the official script sees it: when it lists any answer,
            though it be one without a text.
        cache_dir: Where downloads from the Hub are kept.
        text_format: How text files are written; None: it is detected.
        group_by: Another column of the source, or a value of SQuAD's articles, such as ``title``, which the table then
            has as ``group``.

    Raises:
        UserError: Whatever is wrong with the data, with file and row or id.
    """
    mapped = dict(columns or {})
    unknown = mapped.keys() - set(MAPPABLE)
    if unknown:
        raise UserError(f"column_names: unknown name {min(unknown)!r}; the names are {', '.join(MAPPABLE)}")
    names = COLUMNS | mapped | ({} if group_by is None else {"group": group_by})
    required = {"question", "context"} | ({"answers"} if labelled else set()) | ({"id", "answer_start"} & mapped.keys())
    required |= {"group"} & names.keys()
    paths = [files] if isinstance(files, str) else files or []
    if not paths and not dataset_name:
        raise UserError(f"no data for {split}: name a file or a data set on the Hub")

    def read(part: str) -> Iterator[SourceRows]:
        for path in paths:
            yield read_file(path, names, part, text_format)
        if not paths:
            yield read_hub(
                str(dataset_name),
                config=dataset_config_name,
                revision=dataset_revision,
                split=part,
                cache_dir=cache_dir,
                columns=names,
            )

    offsets: dict[str, str] = {}

    # Rows are objects: what is read goes before more of it comes.
    def make(rows: SourceRows) -> pa.Table:
        made = make_examples(
            rows, names, labelled=labelled, required=required, training=training, as_published=as_published
        )
        offsets.update({rows.source: made.offsets} if made.offsets else {})
        return made.table

    selection = Selection(select or split)
    tables = {part: _concatenate_files(list(map(make, read(part)))) for part in selection.splits}
    return _check_selection(
        selection.take(tables),
        label=f"{', '.join(paths) or dataset_name} ({selection.text})",
        training=training,
        answerable=labelled and not version_2_with_negative,
        offsets=offsets,
    )


def rows_to_examples(rows: list[dict[str, Any]], *, source: str) -> RawSplit:
    """Makes examples from rows of a program, checked like those of a file; unanswerable questions are allowed.

    Args:
        rows: Objects with ``id``, ``question``, ``context`` and ``answers``.
        source: Their name in messages.

    Raises:
        UserError: Where a row is not as it should be.
    """
    found = rows_of_records(source, rows, COLUMNS)
    required = {"question", "context", "answers"}
    made = make_examples(found, COLUMNS, labelled=True, required=required, training=False)
    offsets = {source: made.offsets} if made.offsets else {}
    return _check_selection(made.table, label=source, training=False, answerable=False, offsets=offsets)


def _check_selection(
    table: pa.Table, *, label: str, training: bool, answerable: bool, offsets: dict[str, str]
) -> RawSplit:
    """Makes the checks that concern only what was selected."""
    if not len(table):
        raise UserError(f"{label}: it contains no questions")
    _check_unique(table, label)
    table, dropped = _drop_blank(compact(table), training)
    if not len(table):
        raise UserError(f"{label}: no question is left: the context or question of each is empty")
    if answerable:
        _check_answerable(table)
    table = compact(table) if dropped else table
    return RawSplit(
        table.select([*EXAMPLES.names, *({"group"} & {*table.column_names})]),
        dropped,
        made_ids=pc.sum(table["made"]).as_py(),
        renamed_ids=table["id"].filter(table["renamed"]).to_pylist(),
        overruled=table["id"].filter(table["overruled"]).to_pylist(),
        offsets=offsets,
    )


def _concatenate_files(tables: list[pa.Table]) -> pa.Table:
    """Concatenates the tables of files; those that share ids get a prefix before every id."""
    owner = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    names = pa.chunked_array([table["id"].combine_chunks() for table in tables], pa.string()).combine_chunks()
    name = np.asarray(names.dictionary_encode().indices)
    _, first = np.unique(name, return_index=True)
    again = owner != owner[first[name]]
    numbers = np.union1d(owner[again], owner[first[name[again]]]).tolist()
    files = [Path(tables[number]["file"][0].as_py()) for number in numbers]
    for number, prefix in zip(numbers, _prefixes(files), strict=True):
        ids = pc.binary_join_element_wise(prefix, tables[number]["id"], ":")
        tables[number] = tables[number].set_column(0, "id", ids)
    return pa.concat_tables(tables)


def _prefixes(files: list[Path]) -> list[str]:
    """Distinct names for files: the stem, with the folder's name or a number where that is not enough."""
    for names in ([file.stem for file in files], [f"{file.parent.name}/{file.stem}" for file in files]):
        if len(set(names)) == len(names):
            return names
    return [f"{file.stem}-{number}" for number, file in enumerate(files, 1)]


def _check_unique(table: pa.Table, label: str) -> None:
    name = np.asarray(table["id"].combine_chunks().dictionary_encode().indices)
    again = np.ones(len(name), dtype=bool)
    again[np.unique(name, return_index=True)[1]] = False
    if again.any():
        raise UserError(
            f"{describe_row(table, int(np.argmax(again)))}: the id occurs twice in {label}; ids must be unique"
        )


def _drop_blank(table: pa.Table, training: bool) -> tuple[pa.Table, dict[str, int]]:
    """Drops the questions whose texts are only white space, and counts them by reason."""
    context = table["context"].chunk(0)
    no_context = _is_blank(context.dictionary)[context.indices.to_numpy()]
    no_question = _is_blank(table["question"]) & ~no_context
    keep = ~(no_context | no_question)
    if keep.all():
        return table, {}
    if not training:
        row = int(np.argmin(keep))
        what = "context" if no_context[row] else "question"
        raise UserError(
            f"{describe_row(table, row)}: the {what} is empty; only training data may have such rows (dropped)"
        )
    counts = {"empty context": int(no_context.sum()), "empty question": int(no_question.sum())}
    return table.filter(keep), {reason: count for reason, count in counts.items() if count}


def _is_blank(texts: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
    return np.asarray(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0))


def _check_answerable(table: pa.Table) -> None:
    unanswerable = np.flatnonzero(pc.equal(pc.list_value_length(table["gold_texts"]), 0))
    if len(unanswerable):
        raise UserError(
            f"{describe_row(table, int(unanswerable[0]))}: unanswerable, as are {len(unanswerable)} of {len(table)} "
            "questions here; set `version_2_with_negative: true`"
        )
