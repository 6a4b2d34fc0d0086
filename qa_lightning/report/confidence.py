"""The charts of how well probabilities say which answers are right: reliability, and risk over coverage."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_lightning.report.chart import Chart
from qa_lightning.report.drawing import ACCENT, INK, Line, line_chart, reliability_diagram
from qa_lightning.runs.calibration import AnsweredQuestions, SavedCalibration, fingerprint
from qa_lightning.runs.comparison import clusters
from qa_lightning.scoring.calibration import (
    area_under_risk_coverage,
    brier_score,
    calibration_intervals,
    reliability,
    risk_coverage,
)
from qa_lightning.utils.arrays import BoolArray, FloatArray, IntArray

Interval = tuple[float, float]


def confidence_charts(known: pa.Table, calibration: SavedCalibration | None = None) -> list[Chart]:
    """The charts of a run's predicted answers.

    Args:
        known: The questions that are scored, with the columns of `runs.questions.SCHEMA`.
        calibration: What the model was calibrated to; None: it was not.
    """
    known = known.filter(pc.is_valid(known["probability"]))
    if not len(known):
        return []
    right, paragraphs = known["exact_match"].to_numpy() == 100, clusters(known)
    confidences = {"": known["probability"].to_numpy().astype(np.float64)}
    if calibration is not None:
        tuned = calibration.fingerprint == fingerprint(known)
        name = "calibrated" + (" on these very questions" if tuned else "")
        confidences = {"own softmax": confidences[""]}
        confidences[name] = AnsweredQuestions.of_table(known).confidence(calibration.temperatures)
    return [*reliability_charts(confidences, right, paragraphs), risk_chart(confidences, right, paragraphs)]


def reliability_charts(confidences: Mapping[str, FloatArray], right: BoolArray, paragraphs: IntArray) -> list[Chart]:
    """A reliability diagram of each of some confidences of the same answers.

    Args:
        confidences: Them by what they are called; the name of an only one may be empty; ``[answers]`` each.
        right: Whether each answer is exactly right; ``[answers]``.
        paragraphs: The number of its context; ``[answers]``.
    """
    charts = []
    for place, (name, confidence) in enumerate(confidences.items()):
        bins = reliability(confidence, right)
        intervals = calibration_intervals(confidence, right, paragraphs)
        error = f"Expected calibration error: {_percent(bins.error, intervals['ece_width'], paragraphs)}"
        brier = f"Brier score: {_percent(brier_score(confidence, right), intervals['brier'], paragraphs)}"
        note = f"{error}, over {len(right):,} answers in ten bins of equal width; {brier}. Right means an exact match."
        words = "; ".join(
            f"{10 * i} to {10 * i + 10} %: {100 * share:.0f} % of {count:,} answers right"
            for i, (share, count) in enumerate(zip(bins.accuracy, bins.counts, strict=True))
            if count
        )
        title = f"Reliability, {name}" if name else "Reliability"
        key = f"reliability_{place}" if place else "reliability"
        charts.append(Chart(key, "confidence", title, note, f"{error}; {words}", reliability_diagram(bins)))
    return charts


def risk_chart(confidences: Mapping[str, FloatArray], right: BoolArray, paragraphs: IntArray) -> Chart:
    """The risk-coverage curves of some confidences of the same answers; arguments as of `reliability_charts`."""
    lines, said = [], []
    styles = zip((ACCENT, INK), ("-", "--"), strict=True)
    for (name, confidence), (color, dashes) in zip(confidences.items(), styles, strict=False):
        area = area_under_risk_coverage(confidence, right)
        interval = calibration_intervals(confidence, right, paragraphs)["aurc"]
        coverage, risk = risk_coverage(confidence, right)
        label = f"{name}, {100 * area:.1f}" if name else f"wrong answers, {100 * area:.1f}"
        lines.append(Line(label, 100 * coverage, 100 * risk, color, dashes))
        said.append(f"area under the curve{f' ({name})' if name else ''}: {_percent(area, interval, paragraphs)}")
    note = (
        "Answering ever more questions, the surest first, and leaving the others to somebody else. Beside each name "
        "the area under its curve (AURC, %), the better the lower."
    )
    figure = line_chart(lines, "questions answered (%)", "of these, wrong (%)", percent=True)
    return Chart("risk_coverage", "confidence", "Risk and coverage", note, "; ".join(said), figure)


def _percent(value: float, interval: Interval, paragraphs: IntArray) -> str:
    """A share in per cent with its interval, which questions on one paragraph do not have."""
    if len(np.unique(paragraphs)) < 2:
        return f"{100 * value:.1f} %"
    return f"{100 * value:.1f} % ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"
