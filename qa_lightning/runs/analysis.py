"""Numbers over the questions of a run: what came of each, and groups of them.

Scores of questions are on a scale of 0 to 100, as in the table of `qa_lightning.runs.questions`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qa_lightning.scoring.intervals import bootstrap_intervals
from qa_lightning.utils.arrays import BoolArray, FloatArray, Int64Array, IntArray

OUTCOMES = ("right", "partly right", "wrong", "false null", "false answer", "not scored")
"""What can come of a question; the last where its golds are not known."""

OTHER = "other"
"""Label of the types that are too rare for a group of their own."""

_RESAMPLES = 2_000
"""Of the bootstrap of a group, of which a run has dozens."""


@dataclass(frozen=True, slots=True)
class Group:
    """Some questions that have something in common.

    Attributes:
        label: What they have in common.
        count: How many there are.
        exact_match: Their mean EM; nan where there is none.
        f1: Their mean F1; nan likewise.
        exact_interval: The 95 % interval of that EM, over paragraphs; None where the questions are on fewer than two.
        f1_interval: That of F1.
    """

    label: str
    count: int
    exact_match: float
    f1: float
    exact_interval: tuple[float, float] | None = None
    f1_interval: tuple[float, float] | None = None


def outcome(exact: float | None, f1: float | None, answerable: bool, answered: bool) -> int:
    """What came of a question, as a place in `OUTCOMES`.

    Args:
        exact: Its EM; None where golds are not known.
        f1: Its F1; None likewise.
        answerable: Whether it has golds.
        answered: Whether a text was predicted.
    """
    if exact is None or f1 is None:
        return OUTCOMES.index("not scored")
    if exact == 100:
        return OUTCOMES.index("right")
    if not answerable:
        return OUTCOMES.index("false answer")
    if not answered:
        return OUTCOMES.index("false null")
    return OUTCOMES.index("partly right" if f1 > 0 else "wrong")


def by_type(
    types: Sequence[str], exact: FloatArray, f1: FloatArray, most: int = 12, paragraphs: IntArray | None = None
) -> list[Group]:
    """A group for each of the most frequent types, the largest first, and one for all others.

    Args:
        types: Each question's type.
        exact: EM; ``[questions]``.
        f1: F1; ``[questions]``.
        most: How many types get a group of their own.
        paragraphs: The paragraph of each question, as any number; ``[questions]``. None: no intervals are computed.
    """
    counts = Counter(types)
    frequent = sorted(counts, key=lambda kind: (-counts[kind], kind))[:most]
    place = {kind: i for i, kind in enumerate(frequent)}
    labels = [kind or "(no word)" for kind in frequent] + [OTHER] * (len(counts) > most)
    return _groups(np.array([place.get(kind, most) for kind in types], dtype=np.int64), labels, exact, f1, paragraphs)


def by_size(
    sizes: Int64Array, exact: FloatArray, f1: FloatArray, most: int = 8, paragraphs: IntArray | None = None
) -> list[Group]:
    """Groups of neighbouring sizes that hold about as many questions each; equal sizes stay together.

    Args:
        sizes: A whole number for each question; ``[questions]``.
        exact: EM; ``[questions]``.
        f1: F1; ``[questions]``.
        most: How many groups at most.
        paragraphs: The paragraph of each question, as any number; ``[questions]``. None: no intervals are computed.
    """
    if not len(sizes):
        return []
    largest = np.unique(np.quantile(sizes, np.arange(1, most + 1) / most, method="inverted_cdf"))
    index = np.searchsorted(largest, sizes, side="left")
    labels = []
    for group in range(len(largest)):
        low, high = int(sizes[index == group].min()), int(largest[group])
        labels.append(f"{low:,}" if low == high else f"{low:,}–{high:,}")
    return _groups(index, labels, exact, f1, paragraphs)


def by_tenth(
    positions: FloatArray, exact: FloatArray, f1: FloatArray, paragraphs: IntArray | None = None
) -> list[Group]:
    """Ten groups of questions by where something stands in a text.

    Args:
        positions: From 0, the text's beginning, up to 1; ``[questions]``.
        exact: EM; ``[questions]``.
        f1: F1; ``[questions]``.
        paragraphs: The paragraph of each question, as any number; ``[questions]``. None: no intervals are computed.
    """
    index = np.minimum((positions * 10).astype(np.int64), 9)
    return _groups(index, [f"{10 * tenth}–{10 * tenth + 10} %" for tenth in range(10)], exact, f1, paragraphs)


def _groups(
    index: Int64Array, labels: Sequence[str], exact: FloatArray, f1: FloatArray, paragraphs: IntArray | None
) -> list[Group]:
    counts = np.bincount(index, minlength=len(labels))
    scores = {"exact": exact, "f1": f1}
    means = {name: _means(index, counts, column).tolist() for name, column in scores.items()}
    intervals: dict[tuple[str, int], tuple[float, float]] = {}
    if paragraphs is not None:
        several = [group for group in range(len(labels)) if len(np.unique(paragraphs[index == group])) > 1]
        of_groups = {
            (name, group): np.where(index == group, scores[name], np.nan) for name in scores for group in several
        }
        intervals = bootstrap_intervals(of_groups, paragraphs, resamples=_RESAMPLES) if several else {}
    return [
        Group(
            label,
            int(counts[group]),
            means["exact"][group],
            means["f1"][group],
            intervals.get(("exact", group)),
            intervals.get(("f1", group)),
        )
        for group, label in enumerate(labels)
    ]


def _means(index: Int64Array, counts: Int64Array, values: FloatArray | BoolArray) -> FloatArray:
    sums = np.bincount(index, weights=values, minlength=len(counts))
    return np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
