"""Reads the questions of evaluation sets, from files of a folder or from the Hub."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from qa_lightning.data.examples import compact
from qa_lightning.data.sources import read_examples
from qa_lightning.data.textfiles import TextFormat
from qa_lightning.suites.suite import EvaluationSet, Suite
from qa_lightning.utils.errors import UserError


@dataclass(frozen=True)
class SetQuestions:
    """The questions of an evaluation set.

    Attributes:
        evaluation_set: The set.
        source: What they are from, in a few words: names of files, or of a data set on the Hub.
        table: The questions with their golds, with the columns of ``EXAMPLES``.
        has_own_ids: Whether their ids are those of the source, so that the same id elsewhere means the same question.
        fingerprint: A text that differs where any id, text or gold does.
    """

    evaluation_set: EvaluationSet
    source: str
    table: pa.Table
    has_own_ids: bool
    fingerprint: str


def files_of(suite: Suite, each: EvaluationSet, data_dir: Path | None) -> list[Path] | None:
    """The files that a set is read from; None: it is read from the Hub.

    Args:
        suite: The suite that the set is of.
        each: The set.
        data_dir: The folder of the files; None: they are read only where there is nothing on the Hub, and then from the
            folder of the suite's own file.

    Raises:
        UserError: Where there is a folder and the set names no file in it.
    """
    if data_dir is None and each.dataset_name is not None:
        return None
    if not each.files:
        raise UserError(
            f"{suite.name}: the set {each.name!r} names no file that could be in {data_dir}; leave --data_dir out, or "
            "give the set a file"
        )
    return [(data_dir or suite.folder or Path()) / Path(file).expanduser() for file in each.files]


def split_by_presence(
    suite: Suite, sets: Iterable[EvaluationSet], data_dir: Path | None
) -> tuple[list[EvaluationSet], list[Path]]:
    """Finds the sets all of whose files are there, and the files that are not. What is on the Hub counts as there.

    Args:
        suite: The suite.
        sets: Those of its sets that are wanted.
        data_dir: The folder of the files, as of `files_of`.
    """
    present, missing = [], []
    for each in sets:
        absent = [path for path in files_of(suite, each, data_dir) or () if not path.exists()]
        missing += absent
        if not absent:
            present.append(each)
    return present, missing


def read_questions(suite: Suite, sets: Iterable[EvaluationSet], data_dir: Path | None) -> Iterator[SetQuestions]:
    """Reads sets one by one; what several sets take their questions from is read once.

    Args:
        suite: The suite.
        sets: The sets, whose files are there.
        data_dir: The folder of the files, as of `files_of`.

    Raises:
        UserError: Where a set cannot be read, or has no questions.
    """
    last: tuple[Any, pa.Table, bool] | None = None
    for each in sets:
        files = files_of(suite, each, data_dir)
        source: dict[str, Any] = (
            {"dataset_name": each.dataset_name, "dataset_config_name": each.dataset_config_name}
            | {"dataset_revision": each.dataset_revision, "split": each.split, "files": None}
            if files is None
            else {"split": "validation", "files": [str(path) for path in files]}
        )
        key = (source, dict(each.column_names), each.encoding, each.delimiter)
        if last is None or last[0] != key:
            last = (key, *_read(source, each))
        _, table, has_own_ids = last
        if each.id_prefix is not None:
            table = table.filter(pc.starts_with(table["id"], each.id_prefix))
            if not len(table):
                raise UserError(f"{_title(each, files)}: no question has an id that begins with {each.id_prefix!r:.80}")
            table = compact(table)
        yield SetQuestions(each, _title(each, files), table, has_own_ids, fingerprint(table))


def fingerprint(table: pa.Table) -> str:
    """A text that differs where any value of a table does."""
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return hashlib.sha256(stream.getvalue()).hexdigest()


def _read(source: dict[str, Any], each: EvaluationSet) -> tuple[pa.Table, bool]:
    found = read_examples(
        **source,
        columns=each.column_names,
        text_format=TextFormat(each.encoding, each.delimiter),
        training=False,
        version_2_with_negative=True,
        as_published=True,
    )
    return found.table, not found.made_ids


def _title(each: EvaluationSet, files: list[Path] | None) -> str:
    if files is not None:
        return ", ".join(path.name for path in files)
    return ", ".join(filter(None, (each.dataset_name, each.dataset_config_name, each.split)))
