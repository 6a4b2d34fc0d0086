"""Scores and answers as tables, for the terminal and for loggers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from qa_lightning.scoring.squad import is_best_threshold
from qa_lightning.utils.terminal import printable

COLUMNS = ("id", "question", "prediction", "gold", "probability")
"""Columns of `sample_rows`."""

SAMPLED = ["id", "question", "prediction", "golds", "probability"]
"""Columns of a table of `per_question.tabulate` that `sample_rows` reads."""

_COUNTS = ("total", "epoch", "step")
_INTERVAL = "_ci95"
_THRESHOLD = "_thresh"
_THRESHOLD_IN_USE = "null_score_diff_threshold"
_BESIDE = (_INTERVAL, _THRESHOLD, _THRESHOLD_IN_USE)
_WITHOUT_THRESHOLD = (*_COUNTS, "loss")


def sample_rows(questions: pa.Table) -> list[list[Any]]:
    """A row of plain values under `COLUMNS` for each row of a table that has `SAMPLED`."""
    return [
        [
            one["id"],
            one["question"],
            one["prediction"],
            None if one["golds"] is None else " | ".join(dict.fromkeys(gold["text"] for gold in one["golds"])),
            one["probability"],
        ]
        for one in questions.select(SAMPLED).to_pylist()
    ]


def print_scores(metrics: Mapping[str, Any]) -> None:
    """Prints scores, each with its interval and the null threshold that it was taken at.

    Args:
        metrics: What stands in ``metrics.json``.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("score", "value", "95 % interval", "null threshold", title="Scores")
    for name, value in metrics.items():
        if not name.endswith(_BESIDE):
            shown = f"{value:,.0f}" if name.endswith(_COUNTS) else f"{value:.2f}"
            low_high = " – ".join(f"{limit:.2f}" for limit in metrics.get(name + _INTERVAL, ()))
            table.add_row(Text(printable(name)), shown, low_high, _threshold_of(name, metrics))
    table.columns = [column for column in table.columns if any(column.cells)]
    Console().print(table)


def _threshold_of(name: str, metrics: Mapping[str, Any]) -> str:
    prefix = name.rpartition("/")[0]
    threshold = metrics.get(name + _THRESHOLD, metrics.get(f"{prefix}/{_THRESHOLD_IN_USE}"))
    if threshold is None or name.endswith(_WITHOUT_THRESHOLD):
        return ""
    # Also where it was tuned before, on the same questions.
    best = [metrics[key] for key in (name + _THRESHOLD, f"{prefix}/best_f1{_THRESHOLD}") if key in metrics]
    return f"{threshold:.2f}" + ", tuned here" * any(is_best_threshold(threshold, one) for one in best)


def print_samples(questions: pa.Table) -> None:
    """Prints questions with the predicted and the gold answer, as text and nothing but text."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("question", "predicted", "gold", title="Some answers")
    for _, question, prediction, gold, _ in sample_rows(questions):
        unknown = "" if gold is None else "(no answer)"
        cells = (question, prediction or "(no answer)", gold or unknown)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    if len(questions):
        Console().print(table)
