"""The page of a run: one file of HTML that needs nothing else and asks for nothing."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from qa_lightning.report.browser import browsable
from qa_lightning.report.drawing import signed, to_svg
from qa_lightning.report.figures import Curve, draw_charts
from qa_lightning.scoring.squad import is_best_threshold
from qa_lightning.utils.files import whole_file

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
) -> None:
    """Writes the page, whole or not at all; the same page for the same run.

    Args:
        path: Where to.
        name: What the run is called.
        table: Its questions, as `qa_lightning.runs.questions.tabulate` makes them.
        scores: Its figures, as `qa_lightning.runs.history.scores_of` reads them.
        curves: Its learning curves, as `qa_lightning.runs.history.curves_of` reads them.
        n_best: How many candidate answers of each question are shown.
        questions: How many questions can be looked at; None: all, as far as there is room.
    """
    page = render(name, table, scores, curves, n_best, questions)
    with whole_file(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8", newline="\n")


def render(
    name: str,
    table: pa.Table,
    scores: Mapping[str, Any],
    curves: Mapping[str, Curve],
    n_best: int = 5,
    questions: int | None = None,
) -> str:
    """The page as text; arguments as of `write_page`."""
    # Everything that is put into the template is escaped but for what is marked as HTML here: what the package
    # itself holds, pictures, which matplotlib escapes, and JSON, which is harmless by its own escapes.
    environment = Environment(
        loader=PackageLoader("qa_lightning.report", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    charts = draw_charts(table, scores, curves)
    pictures = {chart.name: Markup(to_svg(chart.figure, chart.name)) for chart in charts}  # noqa: S704
    found = browsable(table, n_best, questions)
    rows = score_rows(scores)
    script = _own("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("template.html.j2").render(
        name=name,
        facts=list(_facts(table, scores)),
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
        script_hash=digest,
        style=Markup(_own("page.css")),  # noqa: S704
    )


def score_rows(scores: Mapping[str, Any]) -> list[ScoreRow]:
    """The table of scores: over all questions, the answerable and the unanswerable ones, and at the best thresholds.

    Args:
        scores: Figures by plain name; those that are missing leave gaps.
    """
    used = _threshold(scores, "null_score_diff_threshold")
    # Where the threshold in use is the best one here, it was tuned on these questions too.
    tuned = used != "" and is_best_threshold(
        scores["null_score_diff_threshold"], scores.get("best_f1_thresh", math.inf)
    )
    rows = []
    for name, prefix, whole in (
        ("all", "", "exact_match"),
        ("answerable", "HasAns_", ""),
        ("unanswerable", "NoAns_", ""),
    ):
        exact, f1 = whole or f"{prefix}exact", f"{prefix}f1"
        if exact in scores or f1 in scores:
            total = f"{scores[f'{prefix}total']:,.0f}" if f"{prefix}total" in scores else ""
            cells = (_figure(scores, exact), _interval(scores, exact), _figure(scores, f1), _interval(scores, f1))
            rows.append(ScoreRow(name, total, *cells, used, tuned))
    if "best_exact" in scores:
        threshold = _threshold(scores, "best_exact_thresh")
        rows.append(ScoreRow("all, best EM", exact=_figure(scores, "best_exact"), threshold=threshold, tuned=True))
    if "best_f1" in scores:
        threshold = _threshold(scores, "best_f1_thresh")
        rows.append(ScoreRow("all, best F1", f1=_figure(scores, "best_f1"), threshold=threshold, tuned=True))
    return rows


def other_scores(scores: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values of the figures that neither the table of scores nor the page's head has."""
    told = {"exact_match", "f1", "total", "epoch", "step", "null_score_diff_threshold"}
    shown = ("HasAns_", "NoAns_", "best_")
    names = [name for name in scores if name not in told and not name.startswith(shown) and not name.endswith("_ci95")]
    return [(name, f"{scores[name]:.2f}") for name in names]


def _facts(table: pa.Table, scores: Mapping[str, Any]) -> Iterator[str]:
    yield f"{len(table):,} questions"
    yield f"{len(table['context'].unique()):,} contexts"
    for name in ("epoch", "step"):
        if name in scores:
            yield f"{name} {scores[name]:,.0f}"


def _figure(scores: Mapping[str, Any], name: str) -> str:
    return f"{scores[name]:.2f}" if name in scores else ""


def _interval(scores: Mapping[str, Any], name: str) -> str:
    if f"{name}_ci95" not in scores:
        return ""
    low, high = scores[f"{name}_ci95"]
    return f"{low:.2f} – {high:.2f}"


def _threshold(scores: Mapping[str, Any], name: str) -> str:
    return signed(scores[name]) if name in scores else ""


def _own(file: str) -> str:
    return files("qa_lightning.report").joinpath(file).read_text(encoding="utf-8")
