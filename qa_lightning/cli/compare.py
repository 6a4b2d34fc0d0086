"""``compare``: says whether runs differ, question by question."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from qa_lightning.cli.arguments import VerbParser
from qa_lightning.runs.comparison import Change, Comparison, compare, holm
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
    folders = [*options.runs, *options.vs]
    if len(folders) < 2:
        parser.error("two runs at least are needed to compare")
    seen = [folder.resolve() for folder in folders]
    for place, folder in enumerate(folders):
        if seen[place] in seen[:place]:
            parser.error(f"{folder} is named twice")

    tables = {str(folder): read_questions(folder) for folder in folders}
    group, versus = ([str(folder) for folder in some] for some in (options.runs, options.vs))
    pairs = [(group, versus)] if versus else [(group[:1], [other]) for other in group[1:]]
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


def _parser() -> VerbParser:
    parser = VerbParser("compare", "Says whether runs on the same questions differ, and by how much.")
    folder = "a folder with per_question.parquet: of a fit, a validate or a test, or of a named set in one"
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
        "--shuffles", metavar="N", type=_at_least(1), default=10_000, help="of the randomisation test (10000)"
    )
    parser.add_argument("--seed", metavar="N", type=_at_least(0), default=0, help="of resamples and shuffles (0)")
    parser.add_argument(
        "--show", metavar="N", type=_at_least(0), default=10, help="how many changed questions each way (10)"
    )
    parser.add_argument("--output", metavar="FILE", type=Path, help="write all figures and changed ids as JSON")
    return parser


def _at_least(least: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
        return value

    return whole_number


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
    groups = len(comparison.a) + len(comparison.b) > 2
    if groups:
        _print_runs(console, comparison)
    _print_differences(console, comparison, corrected, groups)

    ways = {name: _ways(comparison, name) for name in ("exact_match", "f1")}
    questions = comparison.differences["f1"].questions
    table = Table("score", "better in A", "better in B", "the same", title="Questions")
    for name, (in_a, in_b) in ways.items():
        counts = (len(in_a), len(in_b), questions - len(in_a) - len(in_b))
        table.add_row(name, *(f"{count:,}" for count in counts))
    console.print(table)
    title = "More often right in {}" if groups else "Right in {} only"
    for side, changes in zip("AB", ways["exact_match"], strict=True):
        _print_changes(console, title.format(side), changes, show)


def _print_runs(console: Console, comparison: Comparison) -> None:
    table = Table("run", "group", *comparison.differences, title="Runs")
    for side, runs in (("A", comparison.a), ("B", comparison.b)):
        for place, name in enumerate(runs):
            means = (getattr(difference, side.lower())[place] for difference in comparison.differences.values())
            table.add_row(plain_text(name), side, *(f"{mean:.2f}" for mean in means))
    console.print(table)


def _print_differences(
    console: Console, comparison: Comparison, corrected: dict[str, float] | None, groups: bool
) -> None:
    more = (["p (Holm)"] if corrected else []) + (["p over seeds"] if groups else [])
    table = Table("score", "A", "B", "B − A", "95 % interval", "p", *more, title="Differences")
    for name, difference in comparison.differences.items():
        low, high = difference.interval
        cells = [
            name,
            _mean(difference.a),
            _mean(difference.b),
            f"{difference.difference:+.2f}",
            f"{low:+.2f} to {high:+.2f}",
        ]
        cells.append(_p(difference.p_value))
        if corrected:
            cells.append(_p(corrected[name]))
        if groups:
            cells.append(_p(difference.p_over_seeds))
        table.add_row(*cells)
    console.print(table)
    swaps = f"all {comparison.permutations:,} swaps" if comparison.exact else f"{comparison.permutations:,} shuffles"
    console.print(
        f"{comparison.differences['f1'].questions:,} questions on {comparison.paragraphs:,} paragraphs. "
        "Interval: bootstrap over paragraphs. "
        f"p: paired {'exact' if comparison.exact else 'approximate'} randomisation by paragraph, {swaps}."
        + (" p over seeds: Welch's t-test on the means of runs." if groups else ""),
        highlight=False,
    )


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


def _ways(comparison: Comparison, score: str) -> tuple[list[Change], list[Change]]:
    """The questions that are better in A, and those that are better in B."""
    changes = [(getattr(change, score), change) for change in comparison.changes]
    return [change for value, change in changes if value < 0], [change for value, change in changes if value > 0]


def _answers(texts: Sequence[str]) -> str:
    return list_answers(text or NO_ANSWER for text in texts or ("",))


def _mean(runs: Sequence[float]) -> str:
    return f"{np.mean(runs):.2f}" + (f" ± {_deviation(runs):.2f}" if len(runs) > 1 else "")


def _deviation(runs: Sequence[float]) -> float | None:
    """The standard deviation over runs, of the sample."""
    return float(np.std(runs, ddof=1)) if len(runs) > 1 else None


def _p(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


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
                "a_deviation": _deviation(difference.a),
                "b_deviation": _deviation(difference.b),
                "difference": difference.difference,
                "interval": difference.interval,
                "p_value": difference.p_value,
                "p_holm": corrected[name],
                "p_over_seeds": difference.p_over_seeds,
            }
            for name, difference in comparison.differences.items()
        },
        "changed": {
            name: {
                f"better_in_{side}": [change.id for change in changes]
                for side, changes in zip("ab", _ways(comparison, name), strict=True)
            }
            for name in ("exact_match", "f1")
        },
    }
