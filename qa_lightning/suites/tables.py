"""The results of a suite as tables for a paper, in LaTeX and in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from qa_lightning.suites.results import AVERAGE, SET, ResultRow
from qa_lightning.suites.suite import Suite

MISSING = "–"
"""What stands in a table where there is no score."""

_LATEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
    # Behind the end of a row, LaTeX takes these for what belongs to it.
    "[": "{[}",
    "*": "{*}",
}
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~&!])")


@dataclass(frozen=True)
class PaperTable:
    """A table; all cells are text, which may be data.

    Attributes:
        caption: What it shows.
        head: The columns' names, the first that of the rows.
        rows: The cells of each row.
        bold: The places (row, column) of the best cells of their columns.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bold: frozenset[tuple[int, int]] = field(default_factory=frozenset)


def paper_tables(suite: Suite, rows: Sequence[ResultRow]) -> list[PaperTable]:
    """Makes the tables: models by sets; or of a matrix one for each model, and its averages.

    Args:
        suite: The suite.
        rows: The rows of all models.
    """
    if not suite.is_matrix:
        return [_models_table(suite, rows)]
    models = list(dict.fromkeys(row.model for row in rows))
    tables = [_matrix_table(suite, model, rows) for model in models]
    averages = [row for row in rows if row.kind == AVERAGE]
    return [*tables, *([_models_table(suite, averages)] if averages else [])]


def terminal_tables(suite: Suite, rows: Sequence[ResultRow]) -> list[PaperTable]:
    """Makes the tables for a narrow screen: sets by models, of a single model with intervals; a matrix as for a paper.

    Args:
        suite: The suite.
        rows: The rows of all models.
    """
    if suite.is_matrix:
        return paper_tables(suite, rows)
    models = list(dict.fromkeys(row.model for row in rows))
    if len(models) == 1:
        lines = [
            (row.name, f"{row.questions:,}", f"{row.exact_match:.2f}", f"{row.f1:.2f}", interval_text(row.f1_interval))
            for row in rows
        ]
        return [PaperTable(suite.title, ("set", "questions", "EM", "F1", "95 % of F1"), tuple(lines))]
    by_model = _models_table(suite, rows)
    (_, *head), *turned = zip(by_model.head, *by_model.rows, strict=True)
    return [PaperTable(by_model.caption, ("set", *head), tuple(turned))]


def to_latex(tables: Sequence[PaperTable]) -> str:
    """Writes tables in LaTeX, for the package ``booktabs``."""
    return "% \\usepackage{booktabs}\n" + "\n".join(map(_latex, tables))


def to_markdown(tables: Sequence[PaperTable]) -> str:
    """Writes tables in Markdown, as GitHub has it."""
    return "\n".join(map(_markdown, tables))


def escape_latex(text: str) -> str:
    """Escapes what LaTeX would take for a command."""
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def escape_markdown(text: str) -> str:
    """Escapes what Markdown would take for markup, and HTML with it."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def matrix_cells(
    suite: Suite, model: str, rows: Sequence[ResultRow]
) -> tuple[list[str], list[str], dict[tuple[str, str], ResultRow]]:
    """The languages of contexts and of questions, as far as there are scores, and the scores of each combination.

    Args:
        suite: A suite that is a matrix.
        model: The model's label.
        rows: The rows of all models.
    """
    found = {(row.language, row.question_language): row for row in rows if row.model == model and row.kind == SET}
    contexts = dict.fromkeys(str(each.language) for each in suite.sets)
    questions = dict.fromkeys(str(each.question_language) for each in suite.sets)
    return (
        [code for code in contexts if any(code == context for context, _ in found)],
        [code for code in questions if any(code == question for _, question in found)],
        found,
    )


def interval_text(interval: tuple[float, float]) -> str:
    """An interval for people."""
    return f"{interval[0]:.1f} – {interval[1]:.1f}"


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean of scores; None where one is missing, or there is none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _models_table(suite: Suite, rows: Sequence[ResultRow]) -> PaperTable:
    """A row for each model, a column for each set and average; where there are several models, the best are bold."""
    models = list(dict.fromkeys(row.model for row in rows))
    columns = list(dict.fromkeys(row.name for row in rows))
    found = {(row.model, row.name): row for row in rows}
    cells = [[found.get((model, column)) for column in columns] for model in models]
    bold = frozenset(
        (i, j + 1)
        for j in range(len(columns))
        for i in range(len(models))
        if len(models) > 1 and _is_best(cells[i][j], [line[j] for line in cells])
    )
    texts = tuple((model, *map(_both, line)) for model, line in zip(models, cells, strict=True))
    return PaperTable(f"{suite.title}: F1 / EM", ("model", *columns), texts, bold)


def _matrix_table(suite: Suite, model: str, rows: Sequence[ResultRow]) -> PaperTable:
    contexts, questions, found = matrix_cells(suite, model, rows)
    values = {pair: row.f1 for pair, row in found.items()}
    lines = [[values.get((context, question)) for question in questions] for context in contexts]
    lines = [[*line, mean_of(line)] for line in lines]
    lines.append([mean_of(column) for column in zip(*lines, strict=True)])
    texts = tuple(
        (name, *(MISSING if value is None else f"{value:.1f}" for value in line))
        for name, line in zip((*contexts, "mean"), lines, strict=True)
    )
    return PaperTable(
        f"{suite.title}: F1 of {model}, by the language of contexts (rows) and of questions (columns)",
        ("context", *questions, "mean"),
        texts,
    )


def _is_best(cell: ResultRow | None, column: Sequence[ResultRow | None]) -> bool:
    """Whether nothing in the column is shown with a higher F1."""
    shown = [round(other.f1, 1) for other in column if other is not None]
    return cell is not None and len(shown) > 1 and round(cell.f1, 1) == max(shown)


def _both(row: ResultRow | None) -> str:
    return MISSING if row is None else f"{row.f1:.1f} / {row.exact_match:.1f}"


def _latex(table: PaperTable) -> str:
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(table.caption)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(table.head) - 1)}}}",
        r"\toprule",
        _latex_row(map(escape_latex, table.head)),
        r"\midrule",
    ]
    for place, row in enumerate(table.rows):
        cells = [escape_latex(cell) for cell in row]
        lines.append(
            _latex_row(rf"\textbf{{{cell}}}" if (place, i) in table.bold else cell for i, cell in enumerate(cells))
        )
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def _latex_row(cells: Iterator[str]) -> str:
    return " & ".join(cells) + r" \\"


def _markdown(table: PaperTable) -> str:
    lines = [
        escape_markdown(table.caption),
        "",
        _markdown_row(map(escape_markdown, table.head)),
        _markdown_row(iter(["---", *["---:"] * (len(table.head) - 1)])),
    ]
    for place, row in enumerate(table.rows):
        cells = [escape_markdown(cell) for cell in row]
        lines.append(_markdown_row(f"**{cell}**" if (place, i) in table.bold else cell for i, cell in enumerate(cells)))
    return "\n".join([*lines, ""])


def _markdown_row(cells: Iterator[str]) -> str:
    return f"| {' | '.join(cells)} |"
