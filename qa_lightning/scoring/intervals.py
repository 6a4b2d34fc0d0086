"""Bootstrap confidence intervals of mean scores, over clusters of questions."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np

from qa_lightning.utils.arrays import FloatArray, IntArray

Name = TypeVar("Name", bound=Hashable)

# Resamples are drawn as many at a time as hold this many draws: arrays of 2 MB, which a cache holds.
_DRAWS = 1 << 18


def bootstrap_intervals(
    scores: Mapping[Name, FloatArray],
    clusters: IntArray,
    *,
    resamples: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[Name, tuple[float, float]]:
    """Computes percentile intervals of mean scores by the cluster bootstrap.

    Questions on one paragraph are not independent, so whole clusters are drawn, with replacement, as many as
    there are (Field and Welsh, "Bootstrapping clustered data", 2007); the mean of a resample is its sum of
    scores over its number of questions, which is not always the same. The interval is between two
    percentiles of these means (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13).
    All scores see the same resamples. For the difference of two systems, give the differences as a score.

    Args:
        scores: Each score's value for each question, NaN for a question that it does not concern, which then
            counts in neither sum; ``[questions]``, at least one of them not NaN.
        clusters: The cluster that each question belongs to, as any number; ``[questions]``.
        resamples: How many resamples are drawn. One that holds no question of a score is left out for it.
        seed: What the draws start from.
        confidence: The share of the means that an interval holds.

    Returns:
        The lower and the upper end for each score, on the scores' own scale.
    """
    columns = np.array(list(scores.values()), dtype=np.float64)
    counted = ~np.isnan(columns)
    sums = cluster_sums(np.where(counted, columns, 0.0), clusters)
    sizes = cluster_sums(counted.astype(np.float64), clusters)
    drawn_sums, drawn_sizes = np.split(resample_sums(np.concatenate((sums, sizes)), resamples, seed), 2)
    percentiles = (50 * (1 - confidence), 50 * (1 + confidence))
    intervals: dict[Name, tuple[float, float]] = {}
    for name, total, size in zip(scores, drawn_sums, drawn_sizes, strict=True):
        low, high = np.percentile(total[size > 0] / size[size > 0], percentiles)
        intervals[name] = (float(low), float(high))
    return intervals


def cluster_sums(columns: FloatArray, clusters: IntArray) -> FloatArray:
    """Sums each column over the questions of each cluster, ordered by the clusters' numbers.

    Args:
        columns: Scores; ``[columns, questions]``.
        clusters: The cluster of each question; ``[questions]``.

    Returns:
        ``[columns, clusters]``.
    """
    numbers, places = np.unique(clusters, return_inverse=True)
    sums = [np.bincount(places, weights=column, minlength=len(numbers)) for column in columns]
    return np.array(sums, dtype=np.float64).reshape(len(columns), len(numbers))


def resample_sums(per_cluster: FloatArray, resamples: int = 10_000, seed: int = 0) -> FloatArray:
    """Sums columns over clusters that are drawn with replacement, as many as there are.

    Args:
        per_cluster: A sum of each cluster for each column, as of `cluster_sums`; ``[columns, clusters]``.
        resamples: How many resamples are drawn.
        seed: What the draws start from.

    Returns:
        ``[columns, resamples]``; all columns see the same resamples.
    """
    generator = np.random.default_rng(seed)
    clusters = per_cluster.shape[1]
    at_once = max(1, _DRAWS // clusters)
    parts = []
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = generator.integers(clusters, size=(rows, clusters))
        # How often each cluster was drawn in each row: the rows are counted as one, each in a range of its own.
        drawn += clusters * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * clusters).reshape(rows, clusters)
        parts.append(per_cluster @ times.T.astype(np.float64))
    return np.concatenate(parts, axis=1)
