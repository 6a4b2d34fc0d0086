"""Thresholds on no-answer scores: the curve of scores over all of them, the best one, and precision and recall.

A *no-answer score* is any number that is higher the surer a model is that a question has no answer; a threshold on it
answers a question where ``score <= threshold``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from qa_lightning.utils.arrays import BoolArray, FloatArray


class ThresholdCurve(NamedTuple):
    """The score at every threshold.

    Attributes:
        thresholds: Ascending; the first is minus infinity, the others are the distinct no-answer scores;
            ``[distinct scores + 1]``.
        scores: The mean score from each threshold up to the next, on the scale of the scores given; likewise.
    """

    thresholds: FloatArray
    scores: FloatArray


class PrecisionRecallCurve(NamedTuple):
    """Precision and recall of answering ever more questions, the surest first.

    Attributes:
        recall: Ascending; ``[distinct no-answer scores]``.
        precision: Each holds from the recall before it to its own; likewise.
    """

    recall: FloatArray
    precision: FloatArray


def apply_threshold(
    if_answered: FloatArray, if_null: FloatArray, na_scores: FloatArray, threshold: float
) -> FloatArray:
    """Replaces the scores of the questions above a threshold by those of leaving them unanswered.

    Args:
        if_answered: Score of each question where it is answered; ``[questions]``.
        if_null: Score of each question where it is left unanswered; ``[questions]``.
        na_scores: The no-answer scores; ``[questions]``.
        threshold: The threshold.
    """
    return np.where(na_scores > threshold, if_null, if_answered)


def threshold_curve(if_answered: FloatArray, if_null: FloatArray, na_scores: FloatArray) -> ThresholdCurve:
    """Computes the mean score at every threshold.

    Args:
        if_answered: Score of each question where it is answered; ``[questions]``, at least one.
        if_null: Score of each question where it is left unanswered; ``[questions]``.
        na_scores: The no-answer scores; ``[questions]``.
    """
    thresholds, totals = _totals_by_threshold(if_answered, if_null, na_scores)
    return ThresholdCurve(thresholds, totals / len(na_scores))


def best_threshold(if_answered: FloatArray, if_null: FloatArray, na_scores: FloatArray) -> tuple[float, float]:
    """Finds the best mean score that a threshold reaches, and that threshold.

    Candidates lie between distinct no-answer scores, so that applying the threshold gives exactly the score
    that is returned; of several with the same score, the lowest. It lies halfway to the next score, but not
    more than 1 away, lest noise in the last digits move a question across.

    Args:
        if_answered: Score of each question where it is answered, 0 to 1; ``[questions]``, at least one.
        if_null: Score of each question where it is left unanswered, 0 to 1; ``[questions]``.
        na_scores: The no-answer scores, finite; ``[questions]``.

    Returns:
        The mean score (0 to 100) and the threshold.
    """
    thresholds, totals = _totals_by_threshold(if_answered, if_null, na_scores)
    best = int(totals.argmax())
    above = float(thresholds[best + 1]) if best + 1 < len(thresholds) else math.inf
    if best:
        below = float(thresholds[best])
        threshold = below + min((above - below) / 2, 1.0)
    else:
        threshold = above - 1.0
    # Halfway between two neighbouring floats is one of them.
    return 100 * float(totals[best]) / len(na_scores), min(threshold, math.nextafter(above, -math.inf))


def official_best_threshold(if_answered: FloatArray, if_null: FloatArray, na_scores: FloatArray) -> tuple[float, float]:
    """Finds the best mean score that a threshold could reach, as the official script's ``find_best_thresh`` does.

    The script walks through the questions in the order of their no-answer scores, and takes the first of
    several maxima. It may stop between two questions with the same no-answer score, which no threshold can
    part. For a threshold to be used, see `best_threshold`.

    Args:
        if_answered: Score of each question where it is answered; ``[questions]``, sorted by `na_scores`.
        if_null: Score of each question where it is left unanswered; ``[questions]``.
        na_scores: The no-answer scores, ascending; ``[questions]``.

    Returns:
        The mean score (0 to 100), and the no-answer score of the last question that is answered, or 0.0 where
        it is best to answer none.
    """
    totals = _running_totals(if_answered, if_null)
    best = int(totals.argmax())
    return 100 * float(totals[best]) / len(if_answered), float(na_scores[best - 1]) if best else 0.0


def is_best_threshold(threshold: float, best: float) -> bool:
    """Whether a threshold is the best one for some questions, and was thus tuned on them.

    Logits, and with them the thresholds that `best_threshold` finds, differ in their last digits from pass to pass.
    """
    return math.isclose(threshold, best, abs_tol=1e-4)


def precision_recall_curve(scores: FloatArray, has_answer: BoolArray, na_scores: FloatArray) -> PrecisionRecallCurve:
    """Computes precision and recall of answering ever more questions, the surest first.

    As the official script's ``make_precision_recall_eval``: an answerable question counts as found by its score;
    precision is over the questions answered, recall over all answerable ones. Both are on the scale of the scores.

    Args:
        scores: EM, F1, or the highest score for each question (the oracle); ``[questions]``.
        has_answer: Whether the question is answerable, at least one is; ``[questions]``.
        na_scores: The no-answer scores; ``[questions]``.
    """
    order = np.argsort(na_scores, kind="stable")
    ordered = na_scores[order]
    found = np.where(has_answer, scores, 0.0)[order].cumsum()
    cuts = np.append(ordered[1:] != ordered[:-1], True)
    return PrecisionRecallCurve((found / has_answer.sum())[cuts], (found / np.arange(1, len(found) + 1))[cuts])


def average_precision(scores: FloatArray, has_answer: BoolArray, na_scores: FloatArray) -> float:
    """Computes the area under the curve of `precision_recall_curve`.

    Args:
        scores: EM, F1, or 1 for each question (the oracle), 0 to 1; ``[questions]``.
        has_answer: Whether the question is answerable, at least one is; ``[questions]``.
        na_scores: The no-answer scores; ``[questions]``.

    Returns:
        The average precision, 0 to 100.
    """
    recall, precision = precision_recall_curve(scores, has_answer, na_scores)
    return 100 * float((precision * np.diff(recall, prepend=0.0)).sum())


def _totals_by_threshold(
    if_answered: FloatArray, if_null: FloatArray, na_scores: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Minus infinity and the distinct no-answer scores, ascending, and the sum of scores with each as threshold."""
    order = np.argsort(na_scores, kind="stable")
    ordered = na_scores[order]
    totals = _running_totals(if_answered[order], if_null[order])
    cuts = np.concatenate(([True], ordered[1:] != ordered[:-1], [True]))
    return np.concatenate(([-np.inf], ordered))[cuts], totals[cuts]


def _running_totals(if_answered: FloatArray, if_null: FloatArray) -> FloatArray:
    """Sums of the scores when the first 0, 1, … all questions are answered; ``[questions + 1]``."""
    return np.concatenate(([if_null.sum()], if_answered - if_null)).cumsum()
