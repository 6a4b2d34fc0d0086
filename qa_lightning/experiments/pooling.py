"""Out-of-fold predictions as one table, with null thresholds that are tuned on other folds than they are used on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_lightning.runs.comparison import intervals_of
from qa_lightning.scoring.figures import name_metrics
from qa_lightning.scoring.squad import summarize
from qa_lightning.scoring.thresholds import best_threshold
from qa_lightning.utils.arrays import BoolArray, FloatArray
from qa_lightning.utils.errors import UserError


class Pooled(NamedTuple):
    """The predictions of all folds.

    Attributes:
        table: The questions in the order of the data, with the columns of `questions.SCHEMA`.
        folds: The fold of each; ``[questions]``.
        thresholds: The null threshold that each fold was scored at; None where no question could be left unanswered.
    """

    table: pa.Table
    folds: np.ndarray[Any, np.dtype[np.int64]]
    thresholds: list[float] | None


def pool(tables: Sequence[pa.Table], ids: Sequence[str]) -> Pooled:
    """Brings the out-of-fold predictions together.

    Where questions can be left unanswered, each fold is scored at the threshold on the null odds that gives the best
    F1 on the predictions of all other folds, none of which is by a model that was trained on the question.

    Args:
        tables: The questions of each fold, as `questions.read_questions` returns them.
        ids: The ids of all questions in the order of the data.

    Raises:
        UserError: The folds do not hold each of these questions once.
    """
    table = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    folds = np.repeat(np.arange(len(tables)), [len(part) for part in tables])
    place = {key: row for row, key in enumerate(ids)}
    found = table["id"].to_pylist()
    if sorted(found) != sorted(place):
        raise UserError("the folds do not hold each question once: their files were changed; name a new --output")
    rows = np.array([place[key] for key in found])
    order = np.argsort(rows)
    table, folds = table.take(order), folds[order]
    table = table.set_column(table.column_names.index("row"), "row", pa.array(np.arange(len(ids)), pa.int64()))
    null_odds = table["null_odds"].to_numpy()
    if np.isnan(null_odds).any():
        return Pooled(table, folds, None)
    thresholds = nested_thresholds(
        table["span_f1"].to_numpy() / 100, table["null_f1"].to_numpy() / 100, null_odds, folds
    )
    return Pooled(at_thresholds(table, np.array(thresholds)[folds]), folds, thresholds)


def nested_thresholds(
    if_answered: FloatArray, if_null: FloatArray, null_odds: FloatArray, folds: np.ndarray[Any, np.dtype[np.int64]]
) -> list[float]:
    """Finds for each fold the threshold that is best on all others.

    Args:
        if_answered: The score of each question where it is answered, 0 to 1; ``[questions]``.
        if_null: Its score where it is left unanswered; ``[questions]``.
        null_odds: Its null odds; ``[questions]``.
        folds: Its fold, from 0 on; ``[questions]``.
    """
    others = [folds != fold for fold in range(int(folds.max()) + 1)]
    return [best_threshold(if_answered[rest], if_null[rest], null_odds[rest])[1] for rest in others]


def at_thresholds(table: pa.Table, thresholds: FloatArray) -> pa.Table:
    """A table of questions as it would be with other thresholds on the null odds.

    Args:
        table: Questions that could all be left unanswered.
        thresholds: The threshold of each; ``[questions]``.
    """
    is_null: BoolArray = table["null_odds"].to_numpy() > thresholds
    spans = [next((answer for answer in answers if answer["text"]), None) for answers in table["answers"].to_pylist()]
    nulls = [next((a for a in answers if not a["text"]), None) for answers in table["answers"].to_pylist()]
    chosen = [null if left else span or null for left, span, null in zip(is_null, spans, nulls, strict=True)]
    columns = {
        "prediction": pa.array([answer["text"] if answer else "" for answer in chosen], pa.string()),
        "score": pa.array([answer and answer["start_logit"] + answer["end_logit"] for answer in chosen], pa.float64()),
        "probability": pa.array([answer and answer["probability"] for answer in chosen], pa.float64()),
    }
    for name in ("exact_match", "f1"):
        columns[name] = pc.if_else(pa.array(is_null), table[f"null_{name}"], table[f"span_{name}"])
    for name, column in columns.items():
        table = table.set_column(table.column_names.index(name), table.schema.field(name), column)
    return table


def figures_of(table: pa.Table) -> dict[str, float]:
    """The mean scores of a table of questions, by plain name; nothing of it is tuned on these questions."""
    has_answer = pc.greater(pc.list_value_length(table["golds"]), 0).to_numpy()
    found = summarize(table["exact_match"].to_numpy() / 100, table["f1"].to_numpy() / 100, has_answer)
    figures = {"exact_match": found.pop("exact"), "f1": found.pop("f1"), "total": found.pop("total")}
    return figures if has_answer.all() else figures | found


def metrics_of(table: pa.Table) -> dict[str, Any]:
    """The same with intervals, as ``metrics.json`` has it."""
    return name_metrics("val", "", figures_of(table), intervals_of(table))
