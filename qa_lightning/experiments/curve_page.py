"""The page of a learning curve over data, and its tables."""

from __future__ import annotations

from qa_lightning.experiments.learning_curve import SCORES, LearningCurve
from qa_lightning.experiments.power_law import Forecast
from qa_lightning.report.experiment_drawing import LearningPoint, learning_curve_chart
from qa_lightning.report.experiment_page import ExperimentPage, Part, Picture
from qa_lightning.runs.comparison_tables import ComparisonTable

_TITLES = {"f1": "F1", "exact_match": "EM"}


def curve_table(curve: LearningCurve) -> ComparisonTable:
    """The mean F1 and EM of each share, with their spread and intervals."""
    rows: list[tuple[str, ...]] = []
    for point in curve.points:
        cells = [f"{100 * point.fraction:g} %", f"{point.questions:,.0f}"]
        for name in SCORES:
            spread = point.scores[name]
            deviation = "" if spread.deviation is None else f" ± {spread.deviation:.2f}"
            low, high = spread.interval or spread.over_questions
            cells += [f"{spread.mean:.2f}{deviation}", f"{low:.2f} – {high:.2f}"]
        rows.append(tuple(cells))
    head = ("share", "questions", "F1", "95 % of F1", "EM", "95 % of EM")
    return ComparisonTable("Scores of each share", head, rows)


def what_more_data_brings(curve: LearningCurve) -> list[str]:
    """Says for each score what twice the data would bring, and whether these trainings determine it."""
    return [_in_words(_TITLES[name], found) for name, found in curve.forecasts.items()]


def how_made(curve: LearningCurve) -> str:
    """Says what the means and intervals are of."""
    over = "seeds and paragraphs together" if curve.seeds > 1 else "paragraphs; one seed does not show how seeds differ"
    return (
        f"{len(curve.points)} shares, {curve.seeds} seed{'s' * (curve.seeds > 1)} each; scored on {curve.validated:,} "
        "questions. A seed draws whole paragraphs in a random order, so that its shares are nested. "
        f"Interval: bootstrap over {over}. Power law: least squares through the means, with an interval over the same "
        "resamples; what it says of more data holds if the curve goes on as it went."
    )


def curve_page(name: str, curve: LearningCurve, command: str) -> ExperimentPage:
    """What the page shows.

    Args:
        name: The page's title.
        curve: The learning curve.
        command: The command that made it.
    """
    pictures = []
    for score in SCORES:
        points = [
            LearningPoint(
                point.questions,
                point.scores[score].mean,
                point.scores[score].interval or point.scores[score].over_questions,
                point.scores[score].runs,
            )
            for point in curve.points
        ]
        found = curve.forecasts[score]
        law = found.law.at if found.law is not None else None
        words = "; ".join(f"{point.size:,.0f} questions: {point.mean:.2f}" for point in points)
        figure = learning_curve_chart(points, law, found.size, _TITLES[score])
        note = "A dot is a seed" + ("; the power law goes on to twice the data." if law else ".")
        pictures.append(Picture(f"{_TITLES[score]} over training questions", note, words, figure))
    texts = what_more_data_brings(curve)
    part = Part("Learning curve", texts, pictures, [curve_table(curve)], how_made(curve))
    facts = [f"{len(curve.points)} shares of the data", f"{curve.seeds} seed{'s' * (curve.seeds > 1)}"]
    return ExperimentPage(name, facts, [part], command)


def _in_words(title: str, found: Forecast) -> str:
    twice = f"What twice the data ({found.size:,.0f} questions) would bring in {title}"
    if found.law is None:
        return f"{twice} is not determined: {found.doubt}."
    low, high = found.interval
    figures = f"{found.gain:+.2f} by a power law, 95 % interval {low:+.2f} to {high:+.2f}"
    if found.doubt:
        return f"{twice} is not determined: {figures}, but {found.doubt}."
    return f"{twice}: {figures}."
