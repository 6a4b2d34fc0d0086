"""The page of a comparison: one file of HTML that needs nothing else and asks for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from qa_lightning.report.about import About, about_run
from qa_lightning.report.drawing import difference_chart, to_svg
from qa_lightning.runs.comparison import Comparison
from qa_lightning.runs.comparison_tables import (
    ComparisonTable,
    changed_questions,
    counts_table,
    differences_table,
    has_groups,
    how_tested,
    runs_table,
)
from qa_lightning.utils.files import whole_file
from qa_lightning.utils.html import content_policy, html_environment, style_sheet

_PACKAGE = "qa_lightning.report"
_NOT_SET = "default"


@dataclass(frozen=True)
class _Part:
    """What the page shows of a comparison."""

    comparison: Comparison
    tables: list[ComparisonTable]
    note: str
    picture: Markup
    words: str
    counts: ComparisonTable
    changed: list[tuple[str, int, list[object]]]


def write_comparison(
    path: Path, comparisons: Sequence[Comparison], corrected: Sequence[dict[str, float]], show: int
) -> None:
    """Writes the page, whole or not at all; the runs' folders are those that the comparisons name.

    Args:
        path: Where to.
        comparisons: The comparisons, one at least.
        corrected: The p-value of each of their scores, corrected for all tests.
        show: How many changed questions are listed each way.

    Raises:
        UserError: Where a run's folder does not say how it was made, in a file that should.
    """
    names = dict.fromkeys(name for comparison in comparisons for name in (*comparison.a, *comparison.b))
    page = render_comparison(comparisons, corrected, show, {name: about_run(Path(name)) for name in names})
    with whole_file(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8", newline="\n")


def render_comparison(
    comparisons: Sequence[Comparison], corrected: Sequence[dict[str, float]], show: int, about: Mapping[str, About]
) -> str:
    """The page as text; arguments as of `write_comparison`.

    Args:
        comparisons: The comparisons.
        corrected: Their corrected p-values.
        show: How many changed questions are listed each way.
        about: How each run was made, by its name.
    """
    several = len(comparisons) > 1
    parts = [
        _part(comparison, p_values if several else None, show, f"differences-{place}")
        for place, (comparison, p_values) in enumerate(zip(comparisons, corrected, strict=True))
    ]
    return (
        html_environment(_PACKAGE)
        .get_template("comparison.html.j2")
        .render(
            title=_title(comparisons),
            parts=parts,
            tests=sum(map(len, corrected)) if several else 0,
            about=about,
            settings=differing_settings(about),
            policy=Markup(content_policy(style="'unsafe-inline'")),  # noqa: S704
            style=Markup(style_sheet(_PACKAGE, "comparison.css")),  # noqa: S704
        )
    )


def differing_settings(about: Mapping[str, About]) -> list[tuple[str, list[str]]]:
    """The settings that are not the same in all runs, each with its value in every run; none where a run lacks them.

    Args:
        about: How each run was made, by its name.
    """
    if not all(found.all_known for found in about.values()):
        return []
    names = dict.fromkeys(name for found in about.values() for name in found.settings)
    rows = [(name, [found.settings.get(name, _NOT_SET) for found in about.values()]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]


def _part(comparison: Comparison, corrected: dict[str, float] | None, show: int, name: str) -> _Part:
    differences = differences_table(comparison, corrected)
    return _Part(
        comparison,
        [*([runs_table(comparison)] if has_groups(comparison) else []), differences],
        how_tested(comparison),
        Markup(to_svg(difference_chart(comparison.differences), name)),  # noqa: S704 - matplotlib escapes its texts
        "; ".join(f"{row[0]}: {row[3]}, from {row[4]}" for row in differences.rows),
        counts_table(comparison),
        [(title, len(changes), list(changes[:show])) for title, changes in changed_questions(comparison) if changes],
    )


def _title(comparisons: Sequence[Comparison]) -> str:
    """``a versus b``; of several comparisons, all that the first run is compared with."""
    first = ", ".join(map(_short, comparisons[0].a))
    return f"{first} versus {', '.join(_short(name) for comparison in comparisons for name in comparison.b)}"


def _short(name: str) -> str:
    return Path(name).name or name
