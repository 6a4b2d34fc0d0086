"""The page of ``inspect``: one file of HTML that needs nothing else and asks for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from qa_lightning.inspection.histograms import HEIGHT, WIDTH, Histogram
from qa_lightning.inspection.statistics import Example
from qa_lightning.inspection.tables import TOKEN_COLUMNS, Table, token_rows, window_title
from qa_lightning.inspection.window_view import WindowView
from qa_lightning.utils.html import content_policy, html_environment, source_hash, style_sheet
from qa_lightning.utils.terminal import list_answers

_PACKAGE = "qa_lightning.inspection"


def render(
    title: str,
    settings: Sequence[tuple[str, str]],
    tables: Sequence[Table],
    ids: Sequence[tuple[str, str]],
    histograms: Mapping[str, Sequence[Histogram]],
    examples: Sequence[Example],
    windows: Sequence[WindowView],
) -> str:
    """Writes the page. Every text is escaped, and nothing but the page's own style is allowed to it.

    Args:
        title: What it is called.
        settings: Names and values of what the numbers depend on.
        tables: The tables of numbers.
        ids: What checks found, and the first ids of each.
        histograms: The histograms of each thing that is measured.
        examples: Questions with their answers in their contexts.
        windows: Windows with their tokens.
    """
    style = style_sheet(_PACKAGE, "page.css")
    environment = html_environment(_PACKAGE)
    environment.globals |= {
        "notes": notes,
        "token_columns": TOKEN_COLUMNS,
        "token_rows": token_rows,
        "window_title": window_title,
    }
    return environment.get_template("page.html.j2").render(
        title=title,
        settings=settings,
        tables=tables,
        ids=ids,
        histograms=histograms,
        width=WIDTH,
        height=HEIGHT,
        examples=examples,
        windows=windows,
        policy=Markup(content_policy(style=source_hash(style))),  # noqa: S704
        style=Markup(style),  # noqa: S704
    )


def notes(example: Example) -> dict[str, str]:
    """Remarks on an example, beside its question and the answer in its context."""
    remarks = {}
    if example.answer is None:
        remarks["answer"] = "none, the question is unanswerable"
    if example.golds:
        remarks["published"] = list_answers(example.golds)
    if example.answer is not None and example.label != example.answer:
        remarks["tokens cover"] = example.label or "nothing"
    return remarks
