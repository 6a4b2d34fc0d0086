"""Scores as a heat map: rows, columns, and how strongly each cell is tinted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qa_lightning.suites.results import ResultRow
from qa_lightning.suites.suite import Suite
from qa_lightning.suites.tables import MISSING, interval_text, matrix_cells, mean_of


@dataclass(frozen=True)
class HeatCell:
    """A score.

    Attributes:
        text: As it is shown.
        note: What a reader may want to know besides, such as its interval; empty where there is nothing.
        share: How far it lies from the lowest score of the map, 0, to the highest, 1; None where there is none.
    """

    text: str
    note: str = ""
    share: float | None = None


@dataclass(frozen=True)
class HeatMap:
    """A table whose cells are tinted by their scores.

    Attributes:
        title: What it shows.
        axes: What rows and columns are; empty where it needs no words.
        columns: The names of the columns.
        rows: The name and the cells of each row.
        lowest: The lowest score, which has no tint.
        highest: The highest, which has the strongest.
        means: Whether the last row and the last column are means.
    """

    title: str
    axes: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[HeatCell, ...]], ...]
    lowest: float
    highest: float
    means: bool = False


def heat_maps(suite: Suite, rows: Sequence[ResultRow]) -> list[HeatMap]:
    """Makes the heat maps of F1 and EM: for each model of a matrix, or of sets by models.

    Args:
        suite: The suite.
        rows: The rows of all models.
    """
    models = list(dict.fromkeys(row.model for row in rows))
    if suite.is_matrix:
        return [_of_matrix(suite, model, rows, score) for model in models for score in ("f1", "exact_match")]
    return [_of_models(models, rows, score) for score in ("f1", "exact_match")]


def _of_models(models: Sequence[str], rows: Sequence[ResultRow], score: str) -> HeatMap:
    names = list(dict.fromkeys(row.name for row in rows))
    found = {(row.name, row.model): row for row in rows}
    cells = [[found.get((name, model)) for model in models] for name in names]
    scores = [[None if row is None else getattr(row, score) for row in line] for line in cells]
    notes = [
        ["" if row is None else interval_text(getattr(row, f"{score}_interval")) for row in line] for line in cells
    ]
    return _heat_map(score_title(score), "", models, names, scores, notes)


def _of_matrix(suite: Suite, model: str, rows: Sequence[ResultRow], score: str) -> HeatMap:
    contexts, questions, found = matrix_cells(suite, model, rows)
    cells = [[found.get((context, question)) for question in questions] for context in contexts]
    scores = [[None if row is None else getattr(row, score) for row in line] for line in cells]
    scores = [[*line, mean_of(line)] for line in scores]
    scores.append([mean_of(column) for column in zip(*scores, strict=True)])
    notes = [
        ["" if row is None else interval_text(getattr(row, f"{score}_interval")) for row in line] for line in cells
    ]
    notes = [*([*line, ""] for line in notes), [""] * len(scores[0])]
    title = f"{score_title(score)} of {model}"
    return _heat_map(
        title,
        "rows: language of contexts; columns: of questions",
        [*questions, "mean"],
        [*contexts, "mean"],
        scores,
        notes,
        means=True,
    )


def score_title(score: str) -> str:
    """A score's name for people."""
    return "F1" if score == "f1" else "EM"


def _heat_map(
    title: str,
    axes: str,
    columns: Sequence[str],
    names: Sequence[str],
    scores: Sequence[Sequence[float | None]],
    notes: Sequence[Sequence[str]],
    *,
    means: bool = False,
) -> HeatMap:
    known = [value for line in scores for value in line if value is not None]
    lowest, highest = min(known), max(known)

    def cell(value: float | None, note: str) -> HeatCell:
        if value is None:
            return HeatCell(MISSING)
        return HeatCell(f"{value:.1f}", note, (value - lowest) / (highest - lowest) if highest > lowest else 0.0)

    rows = tuple(
        (name, tuple(map(cell, line, of_line))) for name, line, of_line in zip(names, scores, notes, strict=True)
    )
    return HeatMap(title, axes, tuple(columns), rows, lowest, highest, means)
