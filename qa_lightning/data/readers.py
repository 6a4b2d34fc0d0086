"""Reads files of every kind into columns of plain values."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from qa_lightning.data.nested import find_records, flatten
from qa_lightning.data.textfiles import TextFormat, find_delimiter, read_text, split_sep_line
from qa_lightning.data.values import describe, is_missing, parse_cell
from qa_lightning.utils.errors import UserError

ColumnNames = Mapping[str, str]
"""Our names of columns and what the source calls them."""


ALIASES = {"answers": ("answer", "answers.text"), "answer_start": ("answers.answer_start",), "id": ("qid",)}
"""Other names of a column, for a source without its usual name whose user names none: `answers.…` by
``datasets`` when it flattens, ``qid`` by MRQA."""


@dataclass(frozen=True, slots=True)
class SourceRows:
    """The rows of a source, nothing checked yet.

    Attributes:
        source: The name of the file or data set in messages.
        count: How many rows there are.
        names: The columns that are there, by the source's own names.
        columns: The values of those that are wanted and there, by our names.
        nested: Those among the others that hold objects or lists of them, so that the questions may be in there.
    """

    source: str
    count: int
    names: list[str]
    columns: dict[str, list[Any]]
    nested: list[str] = field(default_factory=list)

    def describe_row(self, row: int) -> str:
        """Describes a row (counted from 0) for messages: file, number from 1, and the id if there is one."""
        name = self.columns["id"][row] if "id" in self.columns else None
        return f"{self.source}, row {row + 1}" + ("" if name is None else f" (id {name!r:.80})")


def read_file(file: str, columns: ColumnNames, split: str, text_format: TextFormat | None = None) -> SourceRows:
    """Reads one file or Arrow folder.

    Args:
        file: SQuAD JSON, flat JSON, JSON Lines, CSV, TSV or Parquet, by its file name ending, text files also
            compressed (``.json.gz``); or a folder that ``save_to_disk`` wrote.
        columns: Our names of the wanted columns and what the file calls them.
        split: Which split of a folder that holds several.
        text_format: How text files are written.

    Raises:
        UserError: Where there is no such file, or it cannot be read as what its ending says.
    """
    path = Path(file).expanduser()
    if not path.exists():
        several = "; several files are a list: '[a.json, b.json]'" if "," in file else ""
        raise UserError(f"{file}: no such file{several}")
    endings = [ending.lower() for ending in path.suffixes]
    packed = endings[-1:] == [".gz"]
    reader = READERS.get("".join(endings[-2:-1] if packed else endings[-1:]))
    try:
        if path.is_dir():
            return _read_folder(path, columns, split)
        if reader is None or (packed and reader is _read_parquet):
            raise UserError(
                f"{file}: unknown kind of file; the ending must be one of {', '.join(READERS)}, those of texts also "
                "with .gz behind, or the path that of a folder written by save_to_disk"
            )
        return reader(path, columns, text_format or TextFormat())
    except (OSError, ValueError, KeyError, RecursionError, pa.ArrowException) as error:
        raise UserError(f"{file}: cannot be read: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """The first line of what an exception says, or its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def rows_of_dataset(source: str, dataset: Any, columns: ColumnNames) -> SourceRows:
    """Reads the wanted columns of a ``datasets.Dataset``."""
    present = _find_columns(dataset.column_names, columns)
    if _is_nested(dataset.column_names, present):
        return rows_of_records(source, dataset.with_format("arrow")[:].to_pylist(), columns)
    table = dataset.select_columns([*dict.fromkeys(present.values())]).with_format("arrow")[:]
    return _from_arrow(source, len(dataset), dataset.features.arrow_schema, table, present)


def _find_columns(names: Collection[str], columns: ColumnNames) -> dict[str, str]:
    """Finds the wanted columns that are there: our name of each, and what the source calls it."""
    found = {}
    for ours, theirs in columns.items():
        others = ALIASES.get(ours, ()) if theirs == ours else ()
        name = next((name for name in (theirs, *others) if name in names), None)
        if name is not None:
            found[ours] = name
    if columns.get("answers") == "answers.text" and "answers.answer_start" in names:
        found.setdefault("answer_start", "answers.answer_start")
    return found


def _is_nested(names: Collection[str], present: ColumnNames) -> bool:
    """Whether rows are SQuAD's articles or paragraphs."""
    return "question" not in present and not {"paragraphs", "qas"}.isdisjoint(names)


def _from_arrow(source: str, count: int, schema: pa.Schema, table: pa.Table, present: ColumnNames) -> SourceRows:
    values = {ours: table[theirs].to_pylist() for ours, theirs in present.items()}
    nested = [field.name for field in schema if _holds_objects(field.type) and field.name not in present.values()]
    return SourceRows(source, count, schema.names, values, nested)


def _holds_objects(kind: pa.DataType) -> bool:
    while pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    return pa.types.is_struct(kind)


def rows_of_records(source: str, records: list[dict[str, Any]], columns: ColumnNames) -> SourceRows:
    """Reads the wanted values of objects: flat rows, or SQuAD's articles or paragraphs."""
    records = list(flatten(records, source, columns["context"], columns.get("group")))
    names = list(dict.fromkeys(chain.from_iterable(records)))
    present = _find_columns(names, columns)
    values = {ours: [record.get(theirs) for record in records] for ours, theirs in present.items()}
    for ours, aliases in ALIASES.items():
        # Each object may call it otherwise.
        if present.get(ours) == ours and not set(aliases).isdisjoint(names):
            values[ours] = [
                next((record[name] for name in (ours, *aliases) if not is_missing(record.get(name))), None)
                for record in records
            ]
    nested = [
        name
        for name, value in (records[0].items() if records else ())
        if name not in present.values() and isinstance(value[0] if isinstance(value, list) and value else value, dict)
    ]
    return SourceRows(source, len(records), names, values, nested)


def _read_json(path: Path, columns: ColumnNames, text_format: TextFormat) -> SourceRows:
    text = read_text(path, text_format.encoding)
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and _is_object(text.partition("\n")[0]):
            return _read_json_lines(path, columns, text_format)  # as `datasets` and pandas write lines into `.json`
        raise UserError(f"{path}: malformed JSON at line {error.lineno}, column {error.colno}: {error.msg}") from error
    records = find_records(document, str(path), {columns["question"], columns["context"]})
    return rows_of_records(str(path), records, columns)


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _read_json_lines(path: Path, columns: ColumnNames, text_format: TextFormat) -> SourceRows:
    records = []
    # Not splitlines(): a text may hold U+2028 and its like as they are.
    for number, line in enumerate(read_text(path, text_format.encoding).split("\n"), 1):
        if not line or line.isspace():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            hint = "; a JSON document of several lines ends in .json" if line.strip() in ("{", "[") else ""
            raise UserError(
                f"{path}: malformed JSON at line {number}, column {error.colno}: {error.msg}{hint}"
            ) from error
        if not isinstance(record, dict):
            raise UserError(f"{path}, line {number}: expected an object, found {describe(record)}")
        records.append(record)
    if len(records) == 1 and "data" in records[0]:  # a whole document in one line
        records = find_records(records[0], str(path), set())
    return rows_of_records(str(path), records, columns)


def _read_separated(path: Path, columns: ColumnNames, text_format: TextFormat, usual: str) -> SourceRows:
    text = read_text(path, text_format.encoding)
    if not text or text.isspace():
        return SourceRows(str(path), 0, [], {})
    delimiter, text = split_sep_line(text)
    delimiter = (
        text_format.delimiter or delimiter or find_delimiter(text, (columns["question"], columns["context"]), usual)
    )
    content = text.encode()
    table = pyarrow.csv.read_csv(
        pa.BufferReader(content),
        # One block: a row may be longer than Arrow's usual ones. One thread: errors name the row.
        read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=min(len(content) + 1, 2**31 - 1)),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys((*columns.values(), *chain(*ALIASES.values())), pa.string()),
            strings_can_be_null=False,
        ),
    )
    rows = _from_arrow(str(path), len(table), table.schema, table, _find_columns(table.column_names, columns))
    if "answers" in rows.columns:
        rows.columns["answers"][:] = map(parse_cell, rows.columns["answers"])
    return rows


def _read_csv(path: Path, columns: ColumnNames, text_format: TextFormat) -> SourceRows:
    return _read_separated(path, columns, text_format, ",")


def _read_tsv(path: Path, columns: ColumnNames, text_format: TextFormat) -> SourceRows:
    return _read_separated(path, columns, text_format, "\t")


def _read_parquet(path: Path, columns: ColumnNames, text_format: TextFormat) -> SourceRows:
    with pyarrow.parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        present = _find_columns(schema.names, columns)
        if _is_nested(schema.names, present):
            return rows_of_records(str(path), file.read().to_pylist(), columns)
        table = file.read([*dict.fromkeys(present.values())])
        return _from_arrow(str(path), file.metadata.num_rows, schema, table, present)


def _read_folder(path: Path, columns: ColumnNames, split: str) -> SourceRows:
    import datasets

    loaded = datasets.load_from_disk(str(path))
    if isinstance(loaded, datasets.DatasetDict):
        if split not in loaded:
            raise UserError(f"{path}: holds no split {split!r}; its splits are {', '.join(loaded)}")
        loaded = loaded[split]
    return rows_of_dataset(str(path), loaded, columns)


READERS: dict[str, Callable[[Path, ColumnNames, TextFormat], SourceRows]] = {
    ".json": _read_json,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".parquet": _read_parquet,
}
"""The function that reads files with each known ending."""
