"""The numbers behind the charts: groups of questions, curves over thresholds, calibration.

Scores of questions are on a scale of 0 to 100, as in the table of `qa_lightning.runs.questions`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]

OUTCOMES = ("right", "partly right", "wrong", "false null", "false answer", "not scored")
"""What can come of a question; the last where its golds are not known."""

OTHER = "other"
"""Label of the types that are too rare for a group of their own."""


@dataclass(frozen=True, slots=True)
class Group:
    """Some questions that have something in common.

    Attributes:
        label: What they have in common.
        count: How many there are.
        exact_match: Their mean EM; nan where there is none.
        f1: Their mean F1; nan likewise.
    """

    label: str
    count: int
    exact_match: float
    f1: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How often answers are right whose probability lies in each of some bins of equal width.

    Attributes:
        counts: Answers in each bin; ``[bins]``.
        confidence: Their mean probability, 0 to 1, nan in an empty bin; ``[bins]``.
        accuracy: The share of them that is right, 0 to 1, nan likewise; ``[bins]``.
        error: The expected calibration error, 0 to 1: the mean of the distance of accuracy and confidence, each bin
            weighted by its answers.
    """

    counts: Integers
    confidence: Floats
    accuracy: Floats
    error: float


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


def by_type(types: Sequence[str], exact: Floats, f1: Floats, most: int = 12) -> list[Group]:
    """A group for each of the most frequent types, the largest first, and one for all others.

    Args:
        types: Each question's type.
        exact: EM; ``[questions]``.
        f1: F1; ``[questions]``.
        most: How many types get a group of their own.
    """
    counts = Counter(types)
    frequent = sorted(counts, key=lambda one: (-counts[one], one))[:most]
    place = {one: i for i, one in enumerate(frequent)}
    labels = [one or "(no word)" for one in frequent] + [OTHER] * (len(counts) > most)
    return _groups(np.array([place.get(one, most) for one in types], dtype=np.int64), labels, exact, f1)


def by_size(sizes: Integers, exact: Floats, f1: Floats, most: int = 8) -> list[Group]:
    """Groups of neighbouring sizes that hold about as many questions each; equal sizes stay together.

    Args:
        sizes: A whole number for each question; ``[questions]``.
        exact: EM; ``[questions]``.
        f1: F1; ``[questions]``.
        most: How many groups at most.
    """
    if not len(sizes):
        return []
    largest = np.unique(np.quantile(sizes, np.arange(1, most + 1) / most, method="inverted_cdf"))
    index = np.searchsorted(largest, sizes, side="left")
    labels = []
    for group in range(len(largest)):
        low, high = int(sizes[index == group].min()), int(largest[group])
        labels.append(f"{low:,}" if low == high else f"{low:,}–{high:,}")
    return _groups(index, labels, exact, f1)


def by_tenth(positions: Floats, exact: Floats, f1: Floats) -> list[Group]:
    """Ten groups of questions by where something stands in a text.

    Args:
        positions: From 0, the text's beginning, up to 1; ``[questions]``.
        exact: EM; ``[questions]``.
        f1: F1; ``[questions]``.
    """
    index = np.minimum((positions * 10).astype(np.int64), 9)
    return _groups(index, [f"{10 * tenth}–{10 * tenth + 10} %" for tenth in range(10)], exact, f1)


def threshold_curve(if_answered: Floats, if_null: Floats, na_scores: Floats) -> tuple[Floats, Floats]:
    """The mean score at every threshold; a question is answered where its no-answer score is at most that.

    Args:
        if_answered: Score of each question where it is answered; ``[questions]``, at least one.
        if_null: Score of each question where it is left unanswered; ``[questions]``.
        na_scores: The no-answer scores; ``[questions]``.

    Returns:
        Thresholds, ascending, of which the first is minus infinity and the others are the distinct no-answer
        scores, and the score from each of them up to the next; both ``[distinct scores + 1]``.
    """
    order = np.argsort(na_scores, kind="stable")
    ordered = na_scores[order]
    totals = np.concatenate(([if_null.sum()], (if_answered - if_null)[order])).cumsum()
    parts = np.concatenate(([True], ordered[1:] != ordered[:-1], [True]))
    return np.concatenate(([-np.inf], ordered))[parts], totals[parts] / len(ordered)


def precision_recall(scores: Floats, has_answer: Bools, na_scores: Floats) -> tuple[Floats, Floats]:
    """Recall and precision of answering ever more questions, the surest first.

    As `qa_lightning.scoring.squad.average_precision` defines them, which is the area under this curve where each
    precision holds from the recall before it to its own.

    Args:
        scores: Score of each question where it is answered; ``[questions]``.
        has_answer: Whether the question is answerable, at least one is; ``[questions]``.
        na_scores: The no-answer scores; ``[questions]``.

    Returns:
        Recall, which rises, and precision, both 0 to 100; ``[distinct no-answer scores]``.
    """
    order = np.argsort(na_scores, kind="stable")
    ordered = na_scores[order]
    found = np.where(has_answer, scores, 0.0)[order].cumsum()
    cuts = np.append(ordered[1:] != ordered[:-1], True)
    return (found / has_answer.sum())[cuts], (found / np.arange(1, len(found) + 1))[cuts]


def calibration(confidence: Floats, correct: Bools, bins: int = 10) -> Calibration:
    """The reliability diagram's bins and the expected calibration error.

    As Guo et al., "On Calibration of Modern Neural Networks" (2017): bin m of M holds the probabilities in
    ((m - 1) / M, m / M], the first also 0.

    Args:
        confidence: The probability of each answer, 0 to 1; ``[answers]``, at least one.
        correct: Whether it is right; ``[answers]``.
        bins: How many bins.
    """
    index = np.searchsorted(np.arange(1, bins) / bins, confidence, side="left")
    counts = np.bincount(index, minlength=bins)
    mean_confidence, accuracy = _means(index, counts, confidence), _means(index, counts, correct)
    gaps = np.abs(accuracy - mean_confidence)[counts > 0]
    error = float((counts[counts > 0] * gaps).sum() / len(confidence))
    return Calibration(counts, mean_confidence, accuracy, error)


def _groups(index: Integers, labels: Sequence[str], exact: Floats, f1: Floats) -> list[Group]:
    counts = np.bincount(index, minlength=len(labels))
    columns = (counts.tolist(), _means(index, counts, exact).tolist(), _means(index, counts, f1).tolist())
    return [Group(*group) for group in zip(labels, *columns, strict=True)]


def _means(index: Integers, counts: Integers, values: Floats | Bools) -> Floats:
    sums = np.bincount(index, weights=values, minlength=len(counts))
    return np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
