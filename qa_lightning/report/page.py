"""The page of a run: one file of HTML that needs nothing else and asks for nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from markupsafe import Markup

from qa_lightning.report.about import About, in_lines, readable_date
from qa_lightning.report.browser import page_data
from qa_lightning.report.drawing import signed, to_svg
from qa_lightning.report.figures import Curve, draw_charts
from qa_lightning.runs.calibration import SavedCalibration
from qa_lightning.scoring.figures import BEST, HAS_ANSWER, NO_ANSWER, PROGRESS, Figure, read_figures
from qa_lightning.utils.files import whole_file
from qa_lightning.utils.html import content_policy, html_environment, read_resource, source_hash, style_sheet

_PACKAGE = "qa_lightning.report"

PARTS = {
    "learning": "Learning curves",
    "groups": "Where it goes wrong",
    "confidence": "Confidence",
}
"""The page's parts that hold charts, by the name that a chart gives."""


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """A row of the table of scores; each text is empty where there is nothing to say.

    Attributes:
        name: Whose scores these are.
        total: How many questions.
        exact: EM.
        exact_interval: Its 95 % interval.
        f1: F1.
        f1_interval: Its 95 % interval.
        threshold: At which threshold they were taken.
        tuned: Whether this is the best one for these very questions.
    """

    name: str
    total: str = ""
    exact: str = ""
    exact_interval: str = ""
    f1: str = ""
    f1_interval: str = ""
    threshold: str = ""
    tuned: bool = False


def write_page(
    path: Path,
    name: str,
    table: pa.Table,
    scores: Mapping[str, Any],
    curves: Mapping[str, Curve],
    n_best: int = 5,
    questions: int | None = None,
    about: About | None = None,
    calibration: SavedCalibration | None = None,
) -> None:
    """Writes the page, whole or not at all; the same page for the same run.

    Args:
        path: Where to.
        name: What the run is called.
        table: Its questions, as `qa_lightning.runs.questions.tabulate` makes them.
        scores: Its figures, as `qa_lightning.runs.history.read_scores` reads them.
        curves: Its learning curves, as `qa_lightning.runs.history.read_curves` reads them.
        n_best: How many candidate answers of each question are shown.
        questions: How many questions can be looked at; None: all, as far as there is room.
        about: How the run was made, as far as it is known.
        calibration: What its model was calibrated to; None: it was not.
    """
    page = render(name, table, scores, curves, n_best, questions, about, calibration)
    with whole_file(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8", newline="\n")


def render(
    name: str,
    table: pa.Table,
    scores: Mapping[str, Any],
    curves: Mapping[str, Curve],
    n_best: int = 5,
    questions: int | None = None,
    about: About | None = None,
    calibration: SavedCalibration | None = None,
) -> str:
    """The page as text; arguments as of `write_page`."""
    # Everything that is put into the template is escaped but for what is marked as HTML here: what the package
    # itself holds, pictures, which matplotlib escapes, and JSON, which is harmless by its own escapes.
    about = about or About()
    charts = draw_charts(table, scores, curves, calibration)
    pictures = {chart.name: Markup(to_svg(chart.figure, chart.name)) for chart in charts}  # noqa: S704
    found = page_data(table, n_best, questions)
    rows = score_rows(scores)
    script = read_resource(_PACKAGE, "page.js")
    return (
        html_environment(_PACKAGE)
        .get_template("page.html.j2")
        .render(
            name=name,
            facts=list(_facts(table, scores)),
            about=about,
            made=about.commands or about.settings,
            readable_date=readable_date,
            in_lines=in_lines,
            rows=rows,
            at_thresholds=any(row.threshold for row in rows),
            intervals=any(row.exact_interval or row.f1_interval for row in rows),
            tuned=any(row.tuned for row in rows),
            others=other_scores(scores),
            parts=[(part, title, [c for c in charts if c.part == part]) for part, title in PARTS.items()],
            pictures=pictures,
            shown=found.shown,
            total=len(table),
            data=Markup(found.data),  # noqa: S704
            script=Markup(script),  # noqa: S704
            policy=Markup(content_policy(style="'unsafe-inline'", script=source_hash(script))),  # noqa: S704
            style=Markup(style_sheet(_PACKAGE, "page.css")),  # noqa: S704
        )
    )


def score_rows(scores: Mapping[str, Any]) -> list[ScoreRow]:
    """The table of scores: over all questions, the answerable and the unanswerable ones, and at the best thresholds.

    Args:
        scores: Figures by plain name; those that are missing leave gaps.
    """
    figures = read_figures(scores)
    rows = []
    for name, prefix, exact_name in (
        ("all", "", "exact_match"),
        ("answerable", HAS_ANSWER, f"{HAS_ANSWER}exact"),
        ("unanswerable", NO_ANSWER, f"{NO_ANSWER}exact"),
    ):
        exact, f1, total = (figures.get(key) for key in (exact_name, f"{prefix}f1", f"{prefix}total"))
        if any_score := exact or f1:
            cells = (_value(exact), _interval(exact), _value(f1), _interval(f1))
            rows.append(ScoreRow(name, _value(total), *cells, _threshold(any_score), any_score.tuned))
    if exact := figures.get(f"{BEST}exact"):
        rows.append(ScoreRow("all, best EM", exact=_value(exact), threshold=_threshold(exact), tuned=True))
    if f1 := figures.get(f"{BEST}f1"):
        rows.append(ScoreRow("all, best F1", f1=_value(f1), threshold=_threshold(f1), tuned=True))
    return rows


def other_scores(scores: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values of the figures that neither the table of scores nor the page's head has."""
    shown = {"exact_match", "f1", "total", *PROGRESS}
    return [
        (name, figure.text())
        for name, figure in read_figures(scores).items()
        if name not in shown and not name.startswith((HAS_ANSWER, NO_ANSWER, BEST))
    ]


def _facts(table: pa.Table, scores: Mapping[str, Any]) -> Iterator[str]:
    yield f"{len(table):,} questions"
    yield f"{len(table['context'].unique()):,} contexts"
    for name in PROGRESS:
        if name in scores:
            yield f"{name} {scores[name]:,.0f}"


def _value(figure: Figure | None) -> str:
    return "" if figure is None else figure.text()


def _interval(figure: Figure | None) -> str:
    return "" if figure is None else figure.interval_text()


def _threshold(figure: Figure) -> str:
    return "" if figure.threshold is None else signed(figure.threshold)
