"""Tables for papers: what is in which cell, what is bold, and that no text is markup."""

from __future__ import annotations

from qa_lightning.suites.results import ResultRow
from qa_lightning.suites.suite import Suite
from qa_lightning.suites.suite_file import parse_suite
from qa_lightning.suites.tables import (
    escape_latex,
    escape_markdown,
    paper_tables,
    terminal_tables,
    to_latex,
    to_markdown,
)

HOSTILE = r"50% of $x_1$ & {#} ~^ \emph{<b>`*a*`</b>} [l](u) | !"

MATRIX = parse_suite("languages: [en, de]\nquestion_languages: [en, de]\nfile: f.json", "s.yaml", "s", None)
PLAIN = parse_suite("title: Two\nsets: {a: a.json, b: b.json}", "s.yaml", "s", None)


def row(model: str, name: str, f1: float, *, kind: str = "set", language: str = "", asked: str = "") -> ResultRow:
    ends = (f1 - 1, f1 + 1)
    return ResultRow(model, kind, name, (name,), 1200, f1 - 10, f1, ends, ends, language, asked)


def matrix_rows(model: str, values: dict[str, float]) -> list[ResultRow]:
    return [row(model, name, f1, language=name[:2], asked=name[3:]) for name, f1 in values.items()]


def test_sets_and_averages_are_columns_and_the_best_model_is_bold() -> None:
    rows = [row("m", "a", 50.04), row("m", "b", 60), row("m", "average", 55.02, kind="average")]
    rows += [row("n", "a", 50.01), row("n", "b", 70), row("n", "average", 60, kind="average")]
    assert to_markdown(paper_tables(PLAIN, rows)).splitlines() == [
        "Two: F1 / EM",
        "",
        "| model | a | b | average |",
        "| --- | ---: | ---: | ---: |",
        "| m | **50.0 / 40.0** | 60.0 / 50.0 | 55.0 / 45.0 |",
        "| n | **50.0 / 40.0** | **70.0 / 60.0** | **60.0 / 50.0** |",
    ]
    latex = to_latex(paper_tables(PLAIN, rows))
    assert r"\begin{tabular}{lrrr}" in latex
    assert "n & \\textbf{50.0 / 40.0} & \\textbf{70.0 / 60.0} & \\textbf{60.0 / 50.0} \\\\\n\\bottomrule" in latex


def test_a_single_model_has_nothing_bold() -> None:
    assert "**" not in to_markdown(paper_tables(PLAIN, [row("m", "a", 50)]))


def test_a_screen_shows_sets_as_rows() -> None:
    (alone,) = terminal_tables(PLAIN, [row("m", "a", 50), row("m", "b", 60)])
    assert alone.rows[0] == ("a", "1,200", "40.00", "50.00", "49.0 – 51.0")
    (both,) = terminal_tables(PLAIN, [row("m", "a", 50), row("n", "a", 60), row("n", "b", 70)])
    assert (both.head, both.rows) == (
        ("set", "m", "n"),
        (("a", "50.0 / 40.0", "60.0 / 50.0"), ("b", "–", "70.0 / 60.0")),
    )


def test_a_matrix_has_contexts_as_rows_and_means() -> None:
    rows = matrix_rows("m", {"en.en": 80, "en.de": 60, "de.en": 50, "de.de": 70})
    rows.append(row("m", "average", 65, kind="average"))
    matrix, averages = paper_tables(MATRIX, rows)
    assert matrix.head == ("context", "en", "de", "mean")
    assert matrix.rows == (
        ("en", "80.0", "60.0", "70.0"),
        ("de", "50.0", "70.0", "60.0"),
        ("mean", "65.0", "65.0", "65.0"),
    )
    assert averages.rows == (("m", "65.0 / 55.0"),)


def test_a_matrix_with_holes_has_no_means_there() -> None:
    rows = matrix_rows("m", {"en.en": 80, "en.de": 60, "de.de": 70})
    matrix = paper_tables(MATRIX, rows)[0]
    assert matrix.rows == (
        ("en", "80.0", "60.0", "70.0"),
        ("de", "–", "70.0", "–"),
        ("mean", "–", "65.0", "–"),
    )


def test_every_text_is_escaped() -> None:
    assert escape_latex(HOSTILE) == (
        r"50\% of \$x\_1\$ \& \{\#\} \textasciitilde{}\textasciicircum{} "
        r"\textbackslash{}emph\{\textless{}b\textgreater{}`{*}a{*}`\textless{}/b\textgreater{}\} {[}l](u) | !"
    )
    assert escape_markdown(HOSTILE) == (r"50% of $x\_1$ \& \{\#\} \~^ \\emph\{\<b\>\`\*a\*\`\</b\>\} \[l\](u) \| \!")
    assert escape_markdown("two\nlines") == escape_latex("two\nlines") == "two lines"
    suite = Suite("s", HOSTILE, PLAIN.sets, {})
    rows = [row(HOSTILE, HOSTILE, 50)]
    assert HOSTILE not in to_latex(paper_tables(suite, rows))
    lines = to_markdown(paper_tables(suite, rows)).splitlines()
    assert [line.replace(r"\|", "").count("|") for line in lines[2:]] == [3, 3, 3]


def test_no_row_begins_with_what_latex_takes_for_a_part_of_the_last_one() -> None:
    """``\\\\`` and ``\\midrule`` look for a star and for a length in brackets, on the next line too."""
    latex = to_latex(paper_tables(PLAIN, [row("[v2] m", "a", 50), row("*n", "a", 60)]))
    assert [line[:4] for line in latex.splitlines() if "m &" in line or "n &" in line] == ["{[}v", "{*}n"]
