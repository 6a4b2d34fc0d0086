"""Asks a Reader the questions of a table of examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pyarrow as pa

from qa_lightning.reader.reader import Reader
from qa_lightning.records import Prediction


def predict_examples(reader: Reader, table: pa.Table) -> Iterator[Prediction]:
    """Predicts the questions of a table one by one, each with its id, its golds and its place in the table.

    Args:
        reader: The model.
        table: Questions with the columns of ``EXAMPLES``; those with golds have known ones.

    Raises:
        UserError: As a Reader's call does.
    """
    rows = zip(*(table[name].to_pylist() for name in ("id", "gold_texts", "gold_starts")), strict=True)
    predictions = reader.predictions(table.select(["question", "context"]).to_pylist())
    for row, ((name, golds, starts), prediction) in enumerate(zip(rows, predictions, strict=True)):
        asked = prediction.question
        if golds is not None:
            spans = tuple(map(_located, golds, starts, [asked.context] * len(golds)))
            asked = replace(asked, golds=tuple(golds), gold_spans=spans)
        yield replace(prediction, question=replace(asked, row=row, id=name))


def null_probabilities(reader: Reader, predictions: Iterable[Prediction]) -> dict[str, float] | None:
    """Collects how likely there is no answer, by the question's id; None where the model has to answer.

    Args:
        reader: The model.
        predictions: What it predicted.
    """
    if not reader.settings.handle_impossible_answer:
        return None
    nulls = ((prediction.question.id, prediction.answers.null) for prediction in predictions)
    return {name: 0.0 if null is None else null.probability for name, null in nulls}


def _located(gold: str, start: int | None, context: str) -> tuple[int, int] | None:
    """Where a gold stands, if it stands where the data say."""
    if start is None or start < 0 or not gold or not context.startswith(gold, start):
        return None
    return start, start + len(gold)
