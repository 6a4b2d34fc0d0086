"""The questions that an experiment trains on, read as ``fit`` reads them, and written as files for its trainings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from qa_lightning.data.sources import COLUMNS, read_examples, rows_to_examples
from qa_lightning.data.synthetic import SyntheticCorpus
from qa_lightning.data.textfiles import TextFormat
from qa_lightning.utils.arrays import IntArray
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.files import whole_file


def read_train(data: Mapping[str, Any], *, scored: bool, group_by: str | None = None) -> pa.Table:
    """Reads all questions of the training set.

    Args:
        data: The settings of the data module.
        scored: Whether the questions are scored, too, so that each needs an id, a context and a text of its own;
            else those without are left out or given one, as in training.
        group_by: A column that the table has as ``group``.

    Returns:
        A table with the columns of `examples.EXAMPLES`.

    Raises:
        UserError: There is no data to train on, or it is not as it should be.
    """
    if "train_file" not in data:
        raise UserError("data of a class of your own cannot be divided; use qa_lightning.QADataModule")
    if data.get("train_sets") is not None:
        raise UserError("data.train_sets names several sets; an experiment over data takes one: set data.train_file")
    files = data.get("train_file")
    if files is None and data.get("dataset_name") is None:
        if data.get("synthetic") is None:
            raise UserError("no data to train on: set data.train_file to a file")
        if group_by is not None:
            raise UserError(f"the synthetic corpus has no {group_by}; leave --group_by out")
        return synthetic_table(data, "train")
    return read_examples(
        split="train",
        files=files,
        dataset_name=data["dataset_name"],
        dataset_config_name=data["dataset_config_name"],
        dataset_revision=data["dataset_revision"],
        select=data["train_split"],
        columns=data["column_names"],
        training=not scored,
        version_2_with_negative=data["version_2_with_negative"],
        text_format=TextFormat(data["encoding"], data["csv"]["delimiter"]),
        group_by=group_by,
    ).table


def synthetic_table(data: Mapping[str, Any], split: str) -> pa.Table:
    """The questions of the synthetic corpus, of ``train`` or ``validation``."""
    corpus = SyntheticCorpus(**data["synthetic"])
    rows = corpus.rows("train" if split == "train" else "validation")
    return rows_to_examples(rows, source=f"the synthetic corpus ({split})").table


def is_synthetic(data: Mapping[str, Any], split: str) -> bool:
    """Whether a split comes from the synthetic corpus."""
    return data.get(f"{split}_file") is None and data.get("dataset_name") is None and data.get("synthetic") is not None


def group_numbers(table: pa.Table) -> IntArray:
    """The number of each question's group, or else of its context; ``[questions]``."""
    column = table["group"] if "group" in table.column_names else table["context"].cast(pa.string())
    return np.asarray(column.combine_chunks().dictionary_encode().indices)


def write_examples(path: Path, table: pa.Table, column_names: Mapping[str, str] | None) -> None:
    """Writes questions as Parquet, unless the file is there, which a killed experiment wrote whole.

    Args:
        path: Where to.
        table: A table with the columns of `examples.EXAMPLES`.
        column_names: Our names of columns and what the data call them: trainings read the file by these.

    Raises:
        UserError: The file is there with other questions, which trainings of the experiment have seen.
    """
    names = COLUMNS | dict(column_names or {})
    texts, starts = (table[name].combine_chunks() for name in ("gold_texts", "gold_starts"))
    columns = {names[name]: table[name] for name in ("id", "question", "context")}
    columns[names["answers"]] = pa.StructArray.from_arrays([texts, starts], ["text", "answer_start"])
    if column_names and "answer_start" in column_names:
        columns[names["answer_start"]] = starts
    if path.is_file():
        if not _are_equal(pq.read_table(path), pa.table(columns)):
            raise UserError(f"{path}: the data have changed since the experiment was begun; name a new --output")
        return
    with whole_file(path) as unfinished:
        pq.write_table(pa.table(columns), unfinished, compression="zstd")


def _are_equal(written: pa.Table, table: pa.Table) -> bool:
    # Texts are compared, not their numbers in a dictionary, which may hold more of them than are in use.
    types = [pa.string() if pa.types.is_dictionary(field.type) else field.type for field in table.schema]
    schema = pa.schema(list(zip(table.column_names, types, strict=True)))
    return bool(written.column_names == table.column_names and written.cast(schema).equals(table.cast(schema)))


def train_flags(path: Path) -> list[str]:
    """The flags by which a training takes such a file, all of it."""
    return ["--data.train_file", str(path), "--data.train_split", "train"]
