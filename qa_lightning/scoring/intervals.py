"""Bootstrap confidence intervals of mean scores, over clusters of questions."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
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
    return {
        name: percentile_interval(total[size > 0] / size[size > 0], confidence)
        for name, total, size in zip(scores, drawn_sums, drawn_sizes, strict=True)
    }


def resample_runs(
    groups: Sequence[FloatArray], clusters: IntArray, *, paired: bool = False, resamples: int = 10_000, seed: int = 0
) -> FloatArray:
    """Draws runs and clusters of questions together, and computes the mean score of each group of runs each time.

    Clusters are drawn as in `bootstrap_intervals`, the same for all groups, and independently of them the runs of each
    group (Owen, "The pigeonhole bootstrap", 2007). Of ``n`` runs ``n - 1`` are drawn, with replacement, so that the
    variance of their mean is not too small where there are few (Rao and Wu, "Resampling inference with complex survey
    data", 1988); a single run is always drawn.

    Args:
        groups: The scores of each group: ``[runs, questions]``, NaN for a question that the score does not concern.
        clusters: The cluster of each question; ``[questions]``.
        paired: Whether the runs of all groups, which are equally many, are drawn together: a first with every first.
        resamples: How often they are drawn.
        seed: What the draws start from.

    Returns:
        The means: ``[groups, resamples]``, without the resamples that hold no question of a run.
    """
    columns = np.concatenate(groups)
    counted = ~np.isnan(columns)
    sums = cluster_sums(np.where(counted, columns, 0.0), clusters)
    sizes = cluster_sums(counted.astype(np.float64), clusters)
    drawn_sums, drawn_sizes = np.split(resample_sums(np.concatenate((sums, sizes)), resamples, seed), 2)
    complete = (drawn_sizes > 0).all(axis=0)
    of_runs = drawn_sums[:, complete] / drawn_sizes[:, complete]
    generator = np.random.default_rng((seed, 1))
    means, first = [], 0
    runs: IntArray | None = None
    for group in groups:
        count = len(group)
        if runs is None or not paired:
            runs = generator.integers(count, size=(max(1, count - 1), of_runs.shape[1]))
        means.append(np.take_along_axis(of_runs[first : first + count], runs, axis=0).mean(axis=0))
        first += count
    return np.array(means)


def percentile_interval(values: FloatArray, confidence: float = 0.95) -> tuple[float, float]:
    """The ends between which a share of some values lies, with as many below as above them.

    Args:
        values: A figure of each resample; ``[resamples]``.
        confidence: The share.
    """
    low, high = np.percentile(values, (50 * (1 - confidence), 50 * (1 + confidence)))
    return float(low), float(high)


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


def draw_clusters(clusters: int, resamples: int, seed: int, *, width: int = 0) -> Iterator[FloatArray]:
    """Draws clusters with replacement, as many as there are, again and again.

    Args:
        clusters: How many there are.
        resamples: How often.
        seed: What the draws start from: the same ones come for the same seed.
        width: How many numbers of each resample the caller holds at a time, where these are more than the clusters.

    Yields:
        How often each cluster was drawn in each of some resamples; ``[resamples of this part, clusters]``.
    """
    generator = np.random.default_rng(seed)
    at_once = max(1, _DRAWS // max(clusters, width))
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = generator.integers(clusters, size=(rows, clusters))
        # How often each cluster was drawn in each row: the rows are counted as one, each in a range of its own.
        drawn += clusters * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * clusters).reshape(rows, clusters)
        yield times.astype(np.float64)


def resample_sums(per_cluster: FloatArray, resamples: int = 10_000, seed: int = 0) -> FloatArray:
    """Sums columns over clusters that are drawn with replacement, as many as there are.

    Args:
        per_cluster: A sum of each cluster for each column, as of `cluster_sums`; ``[columns, clusters]``.
        resamples: How many resamples are drawn.
        seed: What the draws start from.

    Returns:
        ``[columns, resamples]``; all columns see the same resamples.
    """
    parts = [per_cluster @ times.T for times in draw_clusters(per_cluster.shape[1], resamples, seed)]
    return np.concatenate(parts, axis=1)
