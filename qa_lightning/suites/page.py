"""The page of a suite: one file of HTML that needs nothing else and asks for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from qa_lightning import __version__
from qa_lightning.suites.heat_map import heat_maps
from qa_lightning.suites.results import AVERAGE, SET, ResultRow
from qa_lightning.suites.suite import Suite
from qa_lightning.suites.tables import interval_text, paper_tables, to_latex, to_markdown
from qa_lightning.utils.files import whole_file
from qa_lightning.utils.html import content_policy, html_environment, style_sheet

_PACKAGE = "qa_lightning.suites"


def write_suite_page(path: Path, suite: Suite, rows: Sequence[ResultRow], missing: Sequence[str] = ()) -> None:
    """Writes the page, whole or not at all; the same page for the same results.

    Args:
        path: Where to.
        suite: The suite.
        rows: The rows of all models, at least one.
        missing: The names of the sets that were left out.

    Raises:
        UserError: Where it cannot be written.
    """
    page = render_suite_page(suite, rows, missing)
    with whole_file(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8", newline="\n")


def render_suite_page(suite: Suite, rows: Sequence[ResultRow], missing: Sequence[str] = ()) -> str:
    """The page as text; arguments as of `write_suite_page`."""
    models = list(dict.fromkeys(row.model for row in rows))
    of_first = [row for row in rows if row.model == models[0]]
    tables = paper_tables(suite, rows)
    return (
        html_environment(_PACKAGE)
        .get_template("page.html.j2")
        .render(
            suite=suite,
            models=models,
            facts=_facts(suite, models, of_first),
            maps=heat_maps(suite, rows),
            by_model=[(model, *_averages_and_others(rows, model)) for model in models],
            interval_text=interval_text,
            averages=[row for row in of_first if row.kind == AVERAGE],
            set_rows=[row for row in of_first if row.kind == SET],
            rules=list(dict.fromkeys(row.rule.partition(" (")[0] for row in of_first if row.rule)),
            missing=missing,
            latex=to_latex(tables),
            markdown=to_markdown(tables),
            version=__version__,
            policy=Markup(content_policy(style="'unsafe-inline'")),  # noqa: S704 - what the package itself holds
            style=Markup(style_sheet(_PACKAGE, "page.css")),  # noqa: S704
        )
    )


def _averages_and_others(rows: Sequence[ResultRow], model: str) -> tuple[list[ResultRow], list[ResultRow]]:
    of_model = [row for row in rows if row.model == model]
    return [row for row in of_model if row.kind == AVERAGE], [row for row in of_model if row.kind != AVERAGE]


def _facts(suite: Suite, models: Sequence[str], rows: Sequence[ResultRow]) -> list[str]:
    sets = [row for row in rows if row.kind == SET]
    of_all = "" if len(sets) == len(suite.sets) else f" of {len(suite.sets)}"
    questions = sum(row.questions for row in sets)
    return [_count(len(models), "model"), f"{len(sets)}{of_all} sets", f"{questions:,} questions"]


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
