"""Which charts a run has: what each shows, its picture, and its numbers in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.figure import Figure

from qa_lightning.report.chart import Chart
from qa_lightning.report.confidence import confidence_charts
from qa_lightning.report.drawing import ACCENT, INK, MUTED, Line, bar_chart, line_chart, signed
from qa_lightning.runs.analysis import Group, by_size, by_tenth, by_type
from qa_lightning.runs.calibration import SavedCalibration
from qa_lightning.runs.comparison import clusters
from qa_lightning.scoring.figures import THRESHOLD_IN_USE
from qa_lightning.scoring.thresholds import average_precision, best_threshold, precision_recall_curve, threshold_curve
from qa_lightning.utils.arrays import BoolArray, FloatArray

Curve = tuple[FloatArray, FloatArray]

_SCORES = (("F1", "f1", ACCENT, "-"), ("EM", "exact_match", INK, "--"))
"""What is drawn of both scores: name, column, colour, line style."""


def draw_figures(table: pa.Table, metrics: Mapping[str, Any], curves: Mapping[str, Curve]) -> dict[str, Figure]:
    """The pictures of an evaluation by name; one that has no data is left out.

    Args:
        table: The questions, as `qa_lightning.runs.questions.tabulate` makes them.
        metrics: The evaluation set's scores by plain name, of which ``null_score_diff_threshold`` is marked.
        curves: Steps and values by name, ``train/loss``, ``val/loss``, ``val/f1``, ``val/exact_match``;
            ``[points]`` each.
    """
    return {chart.name: chart.figure for chart in draw_charts(table, metrics, curves)}


def draw_charts(
    table: pa.Table,
    metrics: Mapping[str, Any],
    curves: Mapping[str, Curve],
    calibration: SavedCalibration | None = None,
) -> list[Chart]:
    """The same pictures with all that is said of them; of a model that was calibrated, also what that has changed."""
    known = table.filter(pc.is_valid(table["exact_match"]))
    confidence = confidence_charts(known, calibration)
    return [*_learning(metrics, curves), *_groups(known), *_no_answer(known, metrics), *confidence]


def _learning(metrics: Mapping[str, Any], curves: Mapping[str, Curve]) -> list[Chart]:
    marks = [(metrics["step"], "the model kept", ":")] if "step" in metrics else []
    charts = []
    for name, title, axis, columns in (
        ("loss", "Loss", "loss", {"train/loss": "training", "val/loss": "validation"}),
        ("scores", "Scores on the validation data", "score", {"val/f1": "F1", "val/exact_match": "EM"}),
    ):
        lines = [
            Line(label, *curves[column], color=color, dashes=dashes, marker="o" if column.startswith("val/") else "")
            for (column, label), color, dashes in zip(columns.items(), (ACCENT, INK), ("-", "--"), strict=True)
            if column in curves
        ]
        if any(len(line.x) > 1 for line in lines):
            words = "; ".join(f"{line.label}: from {line.y[0]:.2f} to {line.y[-1]:.2f}" for line in lines)
            figure = line_chart(lines, "step", axis, marks, percent=name == "scores")
            charts.append(Chart(name, "learning", title, "", words, figure))
    return charts


def _groups(known: pa.Table) -> list[Chart]:
    if not len(known):
        return []
    exact, f1 = _numbers(known, "exact_match"), _numbers(known, "f1")
    answer, windows = _numbers(known, "answer_length"), _numbers(known, "windows")
    position, paragraph = _gold_positions(known), clusters(known)
    has_answer, located = np.isfinite(answer), np.isfinite(position)
    wanted: list[tuple[str, str, str, list[Group]]] = [
        (
            "question_type",
            "Question type",
            "",
            by_type(known["question_type"].to_pylist(), exact, f1, paragraphs=paragraph),
        ),
        (
            "answer_length",
            "Answer length",
            "Characters of the first gold answer; answerable questions.",
            by_size(
                answer[has_answer].astype(np.int64), exact[has_answer], f1[has_answer], paragraphs=paragraph[has_answer]
            ),
        ),
        (
            "answer_position",
            "Position of the answer",
            "Where in the context the first gold that was located begins.",
            by_tenth(position[located], exact[located], f1[located], paragraphs=paragraph[located])
            if located.any()
            else [],
        ),
        (
            "context_length",
            "Context length",
            "Characters.",
            by_size(_numbers(known, "context_length").astype(np.int64), exact, f1, paragraphs=paragraph),
        ),
    ]
    if windows.max() > 1:
        title, note = "Number of windows", "Pieces that question and context were cut into for the model."
        wanted.append(("windows", title, note, by_size(windows.astype(np.int64), exact, f1, paragraphs=paragraph)))
    return [
        Chart(name, "groups", title, note, _in_words(groups), bar_chart(groups), groups)
        for name, title, note, groups in wanted
        if groups
    ]


def _no_answer(known: pa.Table, metrics: Mapping[str, Any]) -> list[Chart]:
    known = known.filter(pc.is_valid(known["null_odds"]))
    has_answer = pc.greater(pc.list_value_length(known["golds"]), 0).to_numpy(zero_copy_only=False)
    if has_answer.all():
        return []
    na_scores = _numbers(known, "null_odds")
    charts = [_threshold_chart(known, na_scores, metrics)]
    if has_answer.any():
        charts.append(_precision_recall_chart(known, has_answer, na_scores))
    return charts


def _threshold_chart(known: pa.Table, na_scores: FloatArray, metrics: Mapping[str, Any]) -> Chart:
    lines, marks, said = [], [], []
    if THRESHOLD_IN_USE in metrics:
        used = metrics[THRESHOLD_IN_USE]
        marks.append((used, f"in use: {signed(used)}", "-"))
    for name, key, color, dashes in _SCORES:
        if_answered, if_null = _numbers(known, f"span_{key}"), _numbers(known, f"null_{key}")
        best, threshold = best_threshold(if_answered / 100, if_null / 100, na_scores)
        said.append(f"best {name}: {best:.2f} at {signed(threshold)}")
        if key == "f1":
            marks.append((threshold, f"best for F1: {signed(threshold)}", ":"))
        x, y = threshold_curve(if_answered, if_null, na_scores)
        # Answering nothing holds for all thresholds below the first score, of which the picture shows some.
        x[0] = x[1] - (0.02 * (x[-1] - x[1]) or 1.0)
        lines.append(Line(name, x, y, color, dashes, "steps-post"))
    note = (
        "A question is left unanswered where its null odds, the null score minus the best other score, "
        "are above the threshold."
    )
    figure = line_chart(lines, "threshold on the null odds", "score", marks, percent=True)
    return Chart("threshold", "confidence", "Scores at every threshold", note, "; ".join(said), figure)


def _precision_recall_chart(known: pa.Table, has_answer: BoolArray, na_scores: FloatArray) -> Chart:
    curves = [(name, _numbers(known, f"span_{key}"), color, dashes) for name, key, color, dashes in _SCORES]
    curves.append(("oracle", np.full(len(known), 100.0), MUTED, ":"))
    lines, said = [], []
    for name, scores, color, dashes in curves:
        area = average_precision(scores / 100, has_answer, na_scores)
        said.append(f"average precision of {name}: {area:.2f}")
        recall, precision = precision_recall_curve(scores, has_answer, na_scores)
        lines.append(Line(f"{name}, {area:.1f}", recall, precision, color, dashes, "steps-pre"))
    note = (
        "Answering ever more questions, the lowest null odds first. Beside each name its average precision; "
        "the oracle finds every answer that there is."
    )
    figure = line_chart(lines, "recall (%)", "precision (%)", percent=True)
    return Chart("precision_recall", "confidence", "Precision and recall", note, "; ".join(said), figure)


def _numbers(table: pa.Table, column: str) -> FloatArray:
    """A column as float64, nan where it is null; ``[questions]``."""
    return table[column].to_numpy().astype(np.float64)


def _gold_positions(table: pa.Table) -> FloatArray:
    """Where the first located gold begins, as a share of the context; nan where there is none; ``[questions]``."""
    starts = [
        next((gold["start"] for gold in golds if gold["start"] is not None), math.nan)
        for golds in table["golds"].to_pylist()
    ]
    return np.array(starts) / np.maximum(_numbers(table, "context_length"), 1)


def _in_words(groups: Sequence[Group]) -> str:
    return "; ".join(
        f"{group.label}: F1 {_with_interval(group.f1, group.f1_interval)}, "
        f"EM {_with_interval(group.exact_match, group.exact_interval)}, {group.count:,} questions"
        for group in groups
        if group.count
    )


def _with_interval(mean: float, interval: tuple[float, float] | None) -> str:
    return f"{mean:.1f}" if interval is None else f"{mean:.1f} ({interval[0]:.1f} to {interval[1]:.1f})"
