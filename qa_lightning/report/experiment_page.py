"""The page of an experiment: one file of HTML that needs nothing else and asks for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from qa_lightning.report.about import in_lines
from qa_lightning.report.drawing import to_svg
from qa_lightning.runs.comparison_tables import ComparisonTable
from qa_lightning.utils.files import whole_file
from qa_lightning.utils.html import content_policy, html_environment, style_sheet

_PACKAGE = "qa_lightning.report"


@dataclass(frozen=True)
class Picture:
    """A picture and what is said of it; all texts may be data.

    Attributes:
        title: Its heading.
        note: What to know in order to read it.
        words: Its numbers in words, for those who cannot see it.
        figure: The picture.
    """

    title: str
    note: str
    words: str
    figure: Figure


@dataclass(frozen=True)
class Part:
    """A part of the page.

    Attributes:
        title: Its heading.
        texts: Paragraphs, which stand first.
        pictures: Its pictures.
        tables: Its tables.
        note: How the numbers were made.
    """

    title: str
    texts: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[ComparisonTable] = ()
    note: str = ""


@dataclass(frozen=True)
class ExperimentPage:
    """What the page shows.

    Attributes:
        title: Its title.
        facts: What stands below it.
        parts: Its parts.
        command: The command that makes the experiment.
    """

    title: str
    facts: Sequence[str]
    parts: Sequence[Part]
    command: str


def write_experiment(path: Path, page: ExperimentPage) -> None:
    """Writes the page, whole or not at all.

    Args:
        path: Where to.
        page: What it shows.
    """
    text = render_experiment(page)
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8", newline="\n")


def render_experiment(page: ExperimentPage) -> str:
    """The page as text. All that is put into it is escaped; of pictures, matplotlib escapes the texts."""
    parts = [
        {
            "title": part.title,
            "texts": part.texts,
            "pictures": [
                (picture, Markup(to_svg(picture.figure, f"picture-{place}-{number}")))  # noqa: S704
                for number, picture in enumerate(part.pictures)
            ],
            "tables": part.tables,
            "note": part.note,
        }
        for place, part in enumerate(page.parts)
    ]
    return (
        html_environment(_PACKAGE)
        .get_template("experiment.html.j2")
        .render(
            page=page,
            parts=parts,
            command=in_lines(page.command),
            policy=Markup(content_policy(style="'unsafe-inline'")),  # noqa: S704
            style=Markup(style_sheet(_PACKAGE, "comparison.css")),  # noqa: S704
        )
    )
