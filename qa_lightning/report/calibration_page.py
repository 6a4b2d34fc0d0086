"""The page of a calibration: one file of HTML that needs nothing else and asks for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from qa_lightning.report.confidence import reliability_charts, risk_chart
from qa_lightning.report.drawing import to_svg
from qa_lightning.runs.comparison_tables import ComparisonTable
from qa_lightning.utils.arrays import BoolArray, FloatArray, IntArray
from qa_lightning.utils.files import whole_file
from qa_lightning.utils.html import content_policy, html_environment, style_sheet

_PACKAGE = "qa_lightning.report"


def write_calibration(
    path: Path,
    name: str,
    facts: Sequence[str],
    figures: ComparisonTable,
    notes: Sequence[str],
    confidences: Mapping[str, FloatArray],
    right: BoolArray,
    paragraphs: IntArray,
) -> None:
    """Writes the page, whole or not at all.

    Args:
        path: Where to.
        name: What the model is called.
        facts: What stands below its name.
        figures: The figures before and after.
        notes: What is to be known of them.
        confidences: The confidence of each answer before and after, by what they are called; ``[answers]`` each.
        right: Whether each answer is exactly right; ``[answers]``.
        paragraphs: The number of its context; ``[answers]``.
    """
    charts = [*reliability_charts(confidences, right, paragraphs), risk_chart(confidences, right, paragraphs)]
    page = (
        html_environment(_PACKAGE)
        .get_template("calibration.html.j2")
        .render(
            title=f"Calibration of {name}",
            facts=facts,
            figures=figures,
            notes=notes,
            charts=charts,
            pictures={chart.name: Markup(to_svg(chart.figure, chart.name)) for chart in charts},  # noqa: S704
            policy=Markup(content_policy(style="'unsafe-inline'")),  # noqa: S704
            style=Markup(style_sheet(_PACKAGE, "comparison.css")),  # noqa: S704
        )
    )
    with whole_file(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8", newline="\n")
