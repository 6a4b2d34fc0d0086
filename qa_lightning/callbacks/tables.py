"""Prints scores and answers as tables, and makes rows of answers for loggers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from qa_lightning.scoring.figures import read_figures
from qa_lightning.utils.terminal import NO_ANSWER, list_answers, plain_text

COLUMNS = ("id", "question", "prediction", "gold", "probability")
"""Columns of `sample_rows`."""

SAMPLED = ["id", "question", "prediction", "golds", "probability"]
"""Columns of a table of `questions.tabulate` that `sample_rows` reads."""


def sample_rows(questions: pa.Table) -> list[list[Any]]:
    """Makes a row of plain values under `COLUMNS` for each row of a table that has `SAMPLED`."""
    return [
        [
            row["id"],
            row["question"],
            row["prediction"],
            None if row["golds"] is None else list_answers(gold["text"] for gold in row["golds"]),
            row["probability"],
        ]
        for row in questions.select(SAMPLED).to_pylist()
    ]


def print_scores(metrics: Mapping[str, Any]) -> None:
    """Prints scores, each with its interval and the null threshold that it was taken at.

    Args:
        metrics: What stands in ``metrics.json``.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table("score", "value", "95 % interval", "null threshold", title="Scores")
    for figure in read_figures(metrics).values():
        threshold = "" if figure.threshold is None else f"{figure.threshold:.2f}{', tuned here' * figure.tuned}"
        table.add_row(plain_text(figure.name), figure.text(), figure.interval_text(), threshold)
    table.columns = [column for column in table.columns if any(column.cells)]
    Console().print(table)


def print_samples(questions: pa.Table) -> None:
    """Prints questions with the predicted and the gold answer, as text and nothing but text."""
    from rich.console import Console
    from rich.table import Table

    table = Table("question", "predicted", "gold", title="Some answers")
    for _, question, prediction, gold, _ in sample_rows(questions):
        unknown = "" if gold is None else NO_ANSWER
        cells = (question, prediction or NO_ANSWER, gold or unknown)
        table.add_row(*(plain_text(cell) for cell in cells))
    if len(questions):
        Console().print(table)
