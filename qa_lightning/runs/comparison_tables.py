"""A comparison of runs as tables of text, which the terminal and the page show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qa_lightning.runs.comparison import Change, Comparison


@dataclass(frozen=True)
class ComparisonTable:
    """A table; all cells are text, which may be data.

    Attributes:
        title: Its title.
        head: The columns' names.
        rows: The cells of each row.
    """

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]


def has_groups(comparison: Comparison) -> bool:
    """Whether a side has several runs."""
    return len(comparison.a) + len(comparison.b) > 2


def runs_table(comparison: Comparison) -> ComparisonTable:
    """The mean scores of each run."""
    rows = []
    for side, runs in (("A", comparison.a), ("B", comparison.b)):
        for place, name in enumerate(runs):
            means = (getattr(difference, side.lower())[place] for difference in comparison.differences.values())
            rows.append((name, side, *(f"{mean:.2f}" for mean in means)))
    return ComparisonTable("Runs", ("run", "group", *comparison.differences), rows)


def differences_table(comparison: Comparison, corrected: dict[str, float] | None) -> ComparisonTable:
    """How much each score differs.

    Args:
        comparison: The comparison.
        corrected: The p-value of each score, corrected for all tests; None: there is no such column.
    """
    groups = has_groups(comparison)
    over_runs = any(difference.interval_over_runs for difference in comparison.differences.values())
    more = (("p (Holm)",) if corrected else ()) + (("p over seeds",) if groups else ())
    rows = []
    for name, difference in comparison.differences.items():
        low, high = difference.interval
        cells = [name, _mean(difference.a), _mean(difference.b), f"{difference.difference:+.2f}"]
        cells += [f"{low:+.2f} to {high:+.2f}"]
        if difference.interval_over_runs:
            low, high = difference.interval_over_runs
            cells += [f"{low:+.2f} to {high:+.2f}"]
        cells += [_p(difference.p_value)]
        cells += [_p(corrected[name])] if corrected else []
        cells += [_p(difference.p_over_seeds)] if groups else []
        rows.append(tuple(cells))
    intervals = ("95 % interval", *(("with seeds",) if over_runs else ()))
    return ComparisonTable("Differences", ("score", "A", "B", "B − A", *intervals, "p", *more), rows)


def how_tested(comparison: Comparison) -> str:
    """Says how many questions there are, and how intervals and p-values were made."""
    swaps = f"all {comparison.permutations:,} swaps" if comparison.exact else f"{comparison.permutations:,} shuffles"
    return (
        f"{comparison.differences['f1'].questions:,} questions on {comparison.paragraphs:,} paragraphs. "
        "Interval: bootstrap over paragraphs. "
        f"p: paired {'exact' if comparison.exact else 'approximate'} randomisation by paragraph, {swaps}."
        + (" p over seeds: Welch's t-test on the means of runs." if has_groups(comparison) else "")
        + (" With seeds: runs are drawn, too." if comparison.differences["f1"].interval_over_runs else "")
    )


def counts_table(comparison: Comparison) -> ComparisonTable:
    """How many questions changed each way."""
    questions, rows = comparison.differences["f1"].questions, []
    for name in ("exact_match", "f1"):
        in_a, in_b = map(len, better_in(comparison, name))
        rows.append((name, *(f"{count:,}" for count in (in_a, in_b, questions - in_a - in_b))))
    return ComparisonTable("Questions", ("score", "better in A", "better in B", "the same"), rows)


def changed_questions(comparison: Comparison) -> list[tuple[str, list[Change]]]:
    """The questions whose EM changed, under a title for each way."""
    title = "More often right in {}" if has_groups(comparison) else "Right in {} only"
    ways = better_in(comparison, "exact_match")
    return [(title.format(side), changes) for side, changes in zip("AB", ways, strict=True)]


def better_in(comparison: Comparison, score: str) -> tuple[list[Change], list[Change]]:
    """The questions that are better in A, and those that are better in B, by ``exact_match`` or ``f1``."""
    changes = [(getattr(change, score), change) for change in comparison.changes]
    return [change for value, change in changes if value < 0], [change for value, change in changes if value > 0]


def deviation(runs: Sequence[float]) -> float | None:
    """The standard deviation over runs, of the sample; None of a single one."""
    return float(np.std(runs, ddof=1)) if len(runs) > 1 else None


def _mean(runs: Sequence[float]) -> str:
    return f"{np.mean(runs):.2f}" + (f" ± {deviation(runs):.2f}" if len(runs) > 1 else "")


def _p(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
