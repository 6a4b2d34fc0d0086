"""How well the probability of an answer says whether it is right: calibration, and ranking by it.

A *confidence* is the probability, 0 to 1, that a model gives to the answer which it predicts; an answer is right or
wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from qa_lightning.scoring.intervals import cluster_sums, draw_clusters, percentile_interval
from qa_lightning.utils.arrays import BoolArray, FloatArray, Int64Array, IntArray

BINS = 10

FIGURES = {
    "ece_width": "calibration error, bins of equal width",
    "ece_mass": "calibration error, bins of equal mass",
    "brier": "Brier score",
    "aurc": "area under the risk-coverage curve",
}
"""The figures of `calibration_figures`, and what each is called."""

_RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class Reliability:
    """How often answers are right whose confidence lies in each of some bins.

    Attributes:
        edges: The ends of the bins, from 0 to 1; ``[bins + 1]``.
        counts: Answers in each bin; ``[bins]``.
        confidence: Their mean confidence, nan in an empty bin; ``[bins]``.
        accuracy: The share of them that is right, nan likewise; ``[bins]``.
        error: The expected calibration error, 0 to 1: the mean of the distance of accuracy and confidence, each bin
            weighted by its answers.
    """

    edges: FloatArray
    counts: Int64Array
    confidence: FloatArray
    accuracy: FloatArray
    error: float


class RiskCoverage(NamedTuple):
    """The share of wrong answers among ever more of them, the surest first.

    Attributes:
        coverage: The share of all answers that are given, ascending to 1; ``[distinct confidences]``.
        risk: The share of these that is wrong; likewise.
    """

    coverage: FloatArray
    risk: FloatArray


def reliability(confidence: FloatArray, right: BoolArray, *, bins: int = BINS, equal_mass: bool = False) -> Reliability:
    """Sorts answers into bins by their confidence, and computes the expected calibration error.

    Bins of equal width are those of Guo et al., "On Calibration of Modern Neural Networks" (2017): bin m of M holds the
    confidences in ((m - 1) / M, m / M], the first also 0. Bins of equal mass hold about as many answers each (Nguyen
    and O'Connor, "Posterior calibration and exploratory analysis for natural language processing models", 2015); equal
    confidences stay together, so that there may be fewer of them.

    Args:
        confidence: The confidence of each answer; ``[answers]``, at least one.
        right: Whether it is right; ``[answers]``.
        bins: How many bins.
        equal_mass: Whether bins have the same mass, rather than the same width.
    """
    edges = bin_edges(confidence, bins, equal_mass=equal_mass)
    index, bins = _bins_of(confidence, edges), len(edges) - 1
    counts = np.bincount(index, minlength=bins)
    means = [
        np.divide(sums, counts, out=np.full(bins, np.nan), where=counts > 0)
        for sums in (np.bincount(index, weights=values, minlength=bins) for values in (confidence, right))
    ]
    gaps = np.abs(means[1] - means[0])[counts > 0]
    error = float((counts[counts > 0] * gaps).sum() / len(confidence))
    return Reliability(edges, counts, means[0], means[1], error)


def bin_edges(confidence: FloatArray, bins: int, *, equal_mass: bool) -> FloatArray:
    """The ends of the bins of `reliability`; ``[bins + 1]``."""
    inner = np.arange(1, bins) / bins
    if equal_mass:
        inner = np.unique(np.quantile(confidence, inner, method="inverted_cdf"))
        inner = inner[inner < confidence.max()]
    return np.concatenate(([0.0], inner, [1.0]))


def brier_score(confidence: FloatArray, right: BoolArray) -> float:
    """Computes the mean of the squared distance of confidence and 1 where the answer is right, 0 where it is wrong.

    As Brier, "Verification of forecasts expressed in terms of probability" (1950), for one event. Unlike the
    calibration error it falls, too, where right and wrong answers are told apart better.

    Args:
        confidence: The confidence of each answer; ``[answers]``, at least one.
        right: Whether it is right; ``[answers]``.
    """
    return float(np.square(confidence - right).mean())


def risk_coverage(confidence: FloatArray, right: BoolArray) -> RiskCoverage:
    """Computes the risk-coverage curve: answers are given from a confidence on, and some of them are wrong.

    As El-Yaniv and Wiener, "On the foundations of noise-free selective classification" (2010), and for questions
    Kamath et al., "Selective question answering under domain shift" (2020).

    Args:
        confidence: The confidence of each answer; ``[answers]``, at least one.
        right: Whether it is right; ``[answers]``.
    """
    order, starts = _ranking(confidence)
    given = np.append(starts[1:], len(order))
    wrong = (~right[order]).cumsum()[given - 1]
    return RiskCoverage(given / len(order), wrong / given)


def area_under_risk_coverage(confidence: FloatArray, right: BoolArray) -> float:
    """Computes the mean risk over all numbers of answers that can be given (AURC; Geifman et al., 2019).

    It is the lower, the fewer answers are wrong, and the more the wrong ones are the less sure. Answers with the same
    confidence are given in a random order: the mean over all of these counts.

    Args:
        confidence: The confidence of each answer; ``[answers]``, at least one.
        right: Whether it is right; ``[answers]``.

    Returns:
        0 to 1.
    """
    return float(_areas(np.ones((1, len(right))), *_ranking(confidence), right)[0])


def calibration_figures(confidence: FloatArray, right: BoolArray) -> dict[str, float]:
    """Computes the figures of `FIGURES`, each the better the lower, 0 to 1.

    Args:
        confidence: The confidence of each answer; ``[answers]``, at least one.
        right: Whether it is right; ``[answers]``.
    """
    return {
        "ece_width": reliability(confidence, right).error,
        "ece_mass": reliability(confidence, right, equal_mass=True).error,
        "brier": brier_score(confidence, right),
        "aurc": area_under_risk_coverage(confidence, right),
    }


def resampled_figures(
    confidence: FloatArray, right: BoolArray, clusters: IntArray, *, resamples: int = _RESAMPLES, seed: int = 0
) -> dict[str, FloatArray]:
    """Computes the figures of `FIGURES` on resamples of whole clusters, drawn as `bootstrap_intervals` draws them.

    The bins stay those of the answers that are there. The figures of two sets of confidences of the same answers are on
    the same resamples, so that their differences can be taken one by one.

    Args:
        confidence: The confidence of each answer; ``[answers]``, at least one.
        right: Whether it is right; ``[answers]``.
        clusters: The cluster that each answer belongs to, as any number; ``[answers]``.
        resamples: How many resamples are drawn.
        seed: What the draws start from.

    Returns:
        Each figure; ``[resamples]``.
    """
    _, cluster = np.unique(clusters, return_inverse=True)
    sizes, *of_clusters = _sums_of_clusters(confidence, right, cluster)
    order, starts = _ranking(confidence)
    parts: dict[str, list[FloatArray]] = {name: [] for name in FIGURES}
    for times in draw_clusters(len(sizes[0]), resamples, seed, width=len(right)):
        drawn = (times @ sizes.T)[:, 0]
        widths, masses, squares = (times @ sums.T for sums in of_clusters)
        parts["ece_width"].append(np.abs(widths).sum(axis=1) / drawn)
        parts["ece_mass"].append(np.abs(masses).sum(axis=1) / drawn)
        parts["brier"].append(squares[:, 0] / drawn)
        parts["aurc"].append(_areas(times[:, cluster], order, starts, right))
    return {name: np.concatenate(values) for name, values in parts.items()}


def calibration_intervals(
    confidence: FloatArray, right: BoolArray, clusters: IntArray, *, resamples: int = _RESAMPLES, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Computes the 95 % percentile interval of each figure of `FIGURES`, over clusters; see `resampled_figures`.

    A calibration error is a sum of distances, which chance makes larger: those of resamples lie above that of the
    answers, the more so the fewer these are.
    """
    resampled = resampled_figures(confidence, right, clusters, resamples=resamples, seed=seed)
    return {name: percentile_interval(values) for name, values in resampled.items()}


def _sums_of_clusters(confidence: FloatArray, right: BoolArray, cluster: IntArray) -> Iterator[FloatArray]:
    """Of each cluster: how many answers it has; by bin, of both kinds, by how much it has more right ones than the
    confidences say; and the sum of squared distances. ``[columns, clusters]`` each."""  # noqa: D205, D209
    gap = right - confidence
    yield cluster_sums(np.ones((1, len(right))), cluster)
    for equal_mass in (False, True):
        edges = bin_edges(confidence, BINS, equal_mass=equal_mass)
        index = _bins_of(confidence, edges)
        yield cluster_sums(np.where(index == np.arange(len(edges) - 1)[:, None], gap, 0.0), cluster)
    yield cluster_sums(np.square(gap)[None], cluster)


def _bins_of(confidence: FloatArray, edges: FloatArray) -> Int64Array:
    return np.searchsorted(edges[1:-1], confidence, side="left")


def _ranking(confidence: FloatArray) -> tuple[Int64Array, Int64Array]:
    """The order of answers, the surest first, and the places in it at which another confidence begins."""
    order = np.argsort(-confidence, kind="stable")
    ordered = confidence[order]
    return order, np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))


def _areas(times: FloatArray, order: Int64Array, starts: Int64Array, right: BoolArray) -> FloatArray:
    """The area under the risk-coverage curve of each of some resamples.

    Args:
        times: How often each answer is in each of them, in whole numbers; ``[resamples, answers]``.
        order: The order of answers, the surest first; ``[answers]``.
        starts: Where in it another confidence begins.
        right: Whether each answer is right; ``[answers]``.
    """
    ordered = times[:, order]
    sizes = np.add.reduceat(ordered, starts, axis=1)
    wrong = np.add.reduceat(ordered * ~right[order], starts, axis=1)
    before, wrong_before = sizes.cumsum(axis=1) - sizes, wrong.cumsum(axis=1) - wrong
    rate = np.divide(wrong, sizes, out=np.zeros_like(wrong), where=sizes > 0)
    totals = sizes.sum(axis=1)
    # Among the answers of one confidence, wrong ones come at one rate: of k answers given, wrong_before +
    # rate * (k - before) are wrong, and the sum of 1 / k is a difference of harmonic numbers.
    harmonic = np.concatenate(([0.0], (1 / np.arange(1, totals.max() + 1)).cumsum()))
    first = before.astype(np.int64)
    spread = harmonic[first + sizes.astype(np.int64)] - harmonic[first]
    return (rate * sizes + (wrong_before - rate * before) * spread).sum(axis=1) / totals
