"""Predictions as files in the formats that others read."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from qa_lightning.utils.files import write_entries
from qa_lightning.runs.questions import FILE

METRICS = "metrics.json"
"""The file of scores."""

_PREDICTIONS = ("predictions.json", "nbest_predictions.json", "null_odds.json", "na_prob.json")
_NBEST = ("text", "start_logit", "end_logit", "probability")
_PART = 1000


def remove_evaluation(folder: Path) -> None:
    """Removes the files of an earlier evaluation, so that none is taken for one of the next.

    Args:
        folder: The run's folder, and that of named evaluation sets, which have no scores or config of their own.
    """
    own = (METRICS, "config.yaml")
    found = [path.parent for path in folder.glob(f"*/{_PREDICTIONS[0]}")]
    sets = [place for place in found if not any((place / name).exists() for name in own)]
    for place in (folder, *sets):
        for name in (METRICS, FILE, *_PREDICTIONS):
            (place / name).unlink(missing_ok=True)
    for place in sets:
        if not any(place.iterdir()):
            place.rmdir()


def write_predictions(folder: Path, table: pa.Table) -> None:
    """Writes what a model answered, by question id.

    ``predictions.json`` (the text, empty for "no answer"), ``nbest_predictions.json`` and ``null_odds.json`` (null
    score minus the best other score: what ``null_score_diff_threshold`` is compared with) are in transformers'
    formats. ``na_prob.json`` holds the probability that there is no answer, a softmax over the answers kept, for
    the official scorer's ``--na-prob-file``. The last two are there only where null could be predicted.

    Args:
        folder: Where to.
        table: Questions with the columns of `per_question.SCHEMA`.
    """
    write_entries(folder / _PREDICTIONS[0], _entries(table, "prediction"))
    write_entries(folder / _PREDICTIONS[1], _entries(table, "answers"))
    for name in ("null_odds", "na_prob"):
        if table[name].null_count < len(table):
            write_entries(folder / f"{name}.json", _entries(table, name))


def _entries(table: pa.Table, column: str) -> Iterator[tuple[str, Any]]:
    """Each question's id and its value in a column; only some of them are Python's objects at a time."""
    for part in table.select(["id", column]).to_batches(max_chunksize=_PART):
        values = _n_best(part["answers"]) if column == "answers" else part[column].to_pylist()
        yield from zip(part["id"].to_pylist(), values, strict=True)


def _n_best(answers: pa.ListArray) -> Iterator[list[dict[str, Any]]]:
    """The answers of each question, as in ``nbest_predictions.json``."""
    rows = answers.flatten()
    columns = [rows.field(name).to_numpy(zero_copy_only=False).tolist() for name in _NBEST]
    dicts = (dict(zip(_NBEST, row, strict=True)) for row in zip(*columns, strict=True))
    for count in answers.value_lengths().to_pylist():
        yield list(islice(dicts, count))
