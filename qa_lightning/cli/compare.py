"""``compare``: says whether runs differ, question by question."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from qa_lightning.cli.arguments import VerbParser, at_least
from qa_lightning.cli.tables import print_table
from qa_lightning.experiments.seeds import runs_of_seeds
from qa_lightning.runs.comparison import Change, Comparison, compare, holm
from qa_lightning.runs.comparison_tables import (
    better_in,
    changed_questions,
    counts_table,
    deviation,
    differences_table,
    has_groups,
    how_tested,
    runs_table,
)
from qa_lightning.runs.questions import read_questions
from qa_lightning.utils.files import write_json
from qa_lightning.utils.terminal import NO_ANSWER, list_answers, plain_text, printable


def run(arguments: list[str]) -> None:
    """Runs ``compare`` with its arguments.

    Raises:
        UserError: A run has no scores that can be read, or the runs are not on the same data.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    pairs = _pairs(parser, options)
    tables = {run: read_questions(run) for pair in pairs for group in pair for run in group}
    comparisons = [
        compare(
            {name: tables[name] for name in a},
            {name: tables[name] for name in b},
            shuffles=options.shuffles,
            seed=options.seed,
        )
        for a, b in pairs
    ]
    corrected = _corrected(comparisons)
    console = Console()
    for comparison, p_values in zip(comparisons, corrected, strict=True):
        _print(console, comparison, p_values if len(comparisons) > 1 else None, options.show)
    if len(comparisons) > 1:
        count = sum(map(len, corrected))
        console.print(f"{count} tests were made; p (Holm) is corrected for that many.")
    if options.output:
        figures = {
            "seed": options.seed,
            "tests": sum(map(len, corrected)),
            "comparisons": [_figures(*pair) for pair in zip(comparisons, corrected, strict=True)],
        }
        write_json(options.output, figures)
        console.print(Text(f"All figures and changed questions: {printable(str(options.output))}"))
    if options.html:
        # Imported here, since matplotlib takes a second.
        from qa_lightning.report.comparison_page import write_comparison

        write_comparison(options.html, comparisons, corrected, options.show)
        console.print(Text(f"The page is {printable(str(options.html))}"))


def _pairs(parser: VerbParser, options: argparse.Namespace) -> list[tuple[list[str], list[str]]]:
    """The groups of runs that are compared with each other; a folder of seeds is the group of its runs."""
    before, behind = ([runs_of_seeds(folder) or [folder] for folder in some] for some in (options.runs, options.vs))
    groups = [*before, *behind]
    if len(groups) < 2:
        parser.error("two runs at least are needed to compare")
    runs = [run for group in groups for run in group]
    seen = [run.resolve() for run in runs]
    for place, run in enumerate(runs):
        if seen[place] in seen[:place]:
            parser.error(f"{run} is named twice")
    if behind:
        groups = [[run for group in some for run in group] for some in (before, behind)]
    first, *others = [[str(run) for run in group] for group in groups]
    return [(first, other) for other in others]


def _parser() -> VerbParser:
    parser = VerbParser("compare", "Says whether runs on the same questions differ, and by how much.")
    folder = (
        "a folder with per_question.parquet: of a fit, a validate or a test, or of a named set in one; or a folder of "
        "seeds, whose runs are one group"
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help=f"{folder}; later ones against the first")
    parser.add_argument(
        "--vs",
        metavar="RUN",
        nargs="+",
        type=Path,
        default=[],
        help="compare the runs before this flag, as one group, with those after it, as another (seeds of two systems)",
    )
    parser.add_argument(
        "--shuffles", metavar="N", type=at_least(1), default=10_000, help="of the randomisation test (10000)"
    )
    parser.add_argument("--seed", metavar="N", type=at_least(0), default=0, help="of resamples and shuffles (0)")
    parser.add_argument(
        "--show", metavar="N", type=at_least(0), default=10, help="how many changed questions each way (10)"
    )
    parser.add_argument("--output", metavar="FILE", type=Path, help="write all figures and changed ids as JSON")
    parser.add_argument(
        "--html", metavar="FILE", type=Path, help="write the same to FILE as a page, which opens offline"
    )
    return parser


def _corrected(comparisons: Sequence[Comparison]) -> list[dict[str, float]]:
    """The p-value of each score of each comparison, corrected for all of them."""
    tests = [(place, name) for place, comparison in enumerate(comparisons) for name in comparison.differences]
    p_values = holm([comparisons[place].differences[name].p_value for place, name in tests])
    corrected: list[dict[str, float]] = [{} for _ in comparisons]
    for (place, name), p_value in zip(tests, p_values, strict=True):
        corrected[place][name] = p_value
    return corrected


def _print(console: Console, comparison: Comparison, corrected: dict[str, float] | None, show: int) -> None:
    for side, runs in (("A", comparison.a), ("B", comparison.b)):
        console.print(Text(f"{side}: {printable(', '.join(runs))}"))
    if has_groups(comparison):
        print_table(runs_table(comparison), console)
    print_table(differences_table(comparison, corrected), console)
    console.print(how_tested(comparison), highlight=False)
    print_table(counts_table(comparison), console)
    for title, changes in changed_questions(comparison):
        _print_changes(console, title, changes, show)


def _print_changes(console: Console, title: str, changes: Sequence[Change], show: int) -> None:
    if not changes or not show:
        return
    table = Table(title=f"{title}: {min(show, len(changes)):,} of {len(changes):,}", show_lines=True)
    for name in ("id", "question", "gold", "A", "B"):
        table.add_column(name, overflow="fold")
    for change in changes[:show]:
        cells = (change.id, change.question, *map(_answers, (change.golds, change.a, change.b)))
        table.add_row(*(plain_text(cell) for cell in cells))
    console.print(table)


def _answers(texts: Sequence[str]) -> str:
    return list_answers(text or NO_ANSWER for text in texts or ("",))


def _figures(comparison: Comparison, corrected: dict[str, float]) -> dict[str, Any]:
    """All that is known, as JSON takes it."""
    return {
        "a": comparison.a,
        "b": comparison.b,
        "paragraphs": comparison.paragraphs,
        "permutations": comparison.permutations,
        "exact": comparison.exact,
        "scores": {
            name: {
                "questions": difference.questions,
                "a": float(np.mean(difference.a)),
                "b": float(np.mean(difference.b)),
                "a_runs": difference.a,
                "b_runs": difference.b,
                "a_deviation": deviation(difference.a),
                "b_deviation": deviation(difference.b),
                "difference": difference.difference,
                "interval": difference.interval,
                "interval_over_runs": difference.interval_over_runs,
                "p_value": difference.p_value,
                "p_holm": corrected[name],
                "p_over_seeds": difference.p_over_seeds,
            }
            for name, difference in comparison.differences.items()
        },
        "changed": {
            name: {
                f"better_in_{side}": [change.id for change in changes]
                for side, changes in zip("ab", better_in(comparison, name), strict=True)
            }
            for name in ("exact_match", "f1")
        },
    }
