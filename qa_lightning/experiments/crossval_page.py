"""The page of a cross-validation, and its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qa_lightning.experiments.pooling import Pooled
from qa_lightning.report.experiment_drawing import spread_chart
from qa_lightning.report.experiment_page import ExperimentPage, Part, Picture
from qa_lightning.runs.comparison_tables import ComparisonTable, deviation
from qa_lightning.runs.spread import Spread
from qa_lightning.scoring.figures import HAS_ANSWER, NO_ANSWER, read_figures


def scores_table(metrics: Mapping[str, Any]) -> ComparisonTable:
    """The scores of all questions together, with their intervals."""
    rows = [
        (figure.name.removeprefix("val/"), figure.text(), figure.interval_text())
        for figure in read_figures(metrics).values()
    ]
    return ComparisonTable("Out-of-fold scores", ("score", "value", "95 % interval"), list(rows))


def folds_table(folds: Sequence[Mapping[str, Any]], *, brief: bool = False) -> ComparisonTable:
    """The scores of each fold; its threshold was tuned on the others.

    Args:
        folds: A row for each fold, as the table has it.
        brief: Leaves out what there is no room for in a terminal: scores of the answerable and unanswerable ones.
    """
    left_out = (HAS_ANSWER, NO_ANSWER, "paragraphs") if brief else ()
    names = [
        name
        for name in folds[0]
        if name not in ("fold", "run", f"{HAS_ANSWER}exact", f"{NO_ANSWER}exact")
        and any(row[name] is not None for row in folds)
        and not name.startswith(left_out)
    ]
    rows = [(f"fold {row['fold']}", *(_cell(name, row[name]) for name in names)) for row in folds]
    return ComparisonTable("Each fold", ("", *names), rows)


def how_made(pooled: Pooled, folds: int, group_by: str) -> str:
    """Says how the questions were divided, and what the scores and intervals are of."""
    questions, paragraphs = len(pooled.table), len(pooled.table["context"].unique())
    tuned = " Each fold's null threshold was tuned on the other folds' predictions." if pooled.thresholds else ""
    return (
        f"{questions:,} questions on {paragraphs:,} paragraphs in {folds} folds, none of which shares a {group_by} "
        f"with another; each was predicted once, by the last weights of a training without it.{tuned} "
        "Interval: bootstrap over paragraphs, for these trainings."
    )


def crossval_page(
    name: str,
    pooled: Pooled,
    metrics: Mapping[str, Any],
    folds: Sequence[Mapping[str, Any]],
    command: str,
    group_by: str,
) -> ExperimentPage:
    """What the page shows.

    Args:
        name: The page's title.
        pooled: The out-of-fold predictions.
        metrics: Their scores, as ``metrics.json`` has them.
        folds: A row for each fold.
        command: The command that made them.
        group_by: What the folds do not share.
    """
    spreads = {}
    for figure in read_figures(metrics).values():
        plain = figure.name.removeprefix("val/")
        of_folds = tuple(row[plain] for row in folds if row.get(plain) is not None)
        if figure.interval is not None and of_folds:
            spreads[plain] = Spread(of_folds, figure.value, deviation(of_folds), figure.interval, None)
    words = "; ".join(
        f"{score}: {spread.mean:.2f}, folds {', '.join(f'{value:.2f}' for value in spread.runs)}"
        for score, spread in spreads.items()
    )
    picture = Picture(
        "Scores over folds", "0 to 100.", words, spread_chart(spreads, each="a fold", mean="all together")
    )
    note = how_made(pooled, len(folds), group_by)
    part = Part("Scores", (), [picture], [scores_table(metrics), folds_table(folds)], note)
    return ExperimentPage(name, [f"{len(folds)} folds", f"{len(pooled.table):,} questions"], [part], command)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if name in ("questions", "paragraphs", "seconds") else f"{value:.2f}"
