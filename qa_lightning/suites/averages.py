"""Bootstrap intervals of means over sets, in which the same question in several languages is drawn together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from qa_lightning.scoring.intervals import resample_sums
from qa_lightning.suites.scores import Interval, SetScores
from qa_lightning.utils.arrays import FloatArray, IntArray

_PERCENTILES = (2.5, 97.5)


def average_intervals(sets: Sequence[SetScores]) -> dict[str, Interval]:
    """Computes 95 % intervals of EM and F1, averaged over sets of which each counts as much as any other.

    A translation of a question has its id, as in XQuAD and MLQA: contexts with a question of the same id are drawn
    together, as one cluster. Sets that share no question are drawn independently of each other. Otherwise it is the
    bootstrap of `qa_lightning.scoring.intervals.bootstrap_intervals`; in a draw that holds no question of a set, the
    set counts by its mean.

    Args:
        sets: The scores of one model on some sets, at least one.

    Returns:
        The ends for ``exact_match`` and ``f1``, 0 to 100.
    """
    clusters = shared_clusters(sets)
    totals: FloatArray = np.zeros((2, 1))
    for number, members in enumerate(_parallel_sets(clusters)):
        totals = totals + _drawn_means([sets[i] for i in members], [clusters[i] for i in members], number)
    ends = np.percentile(totals / len(sets), _PERCENTILES, axis=1).T.tolist()
    return {name: (low, high) for name, (low, high) in zip(("exact_match", "f1"), ends, strict=True)}


def shared_clusters(sets: Sequence[SetScores]) -> list[IntArray]:
    """Numbers what has to be drawn together: contexts that share questions of the same id.

    Returns:
        For each set the cluster of each of its questions; ``[questions]``.
    """
    names: dict[tuple[int, str], int] = {}
    contexts, questions, first = [], [], 0
    for place, found in enumerate(sets):
        owner = 0 if found.has_own_ids else place + 1  # ids that were made mean nothing elsewhere
        ids = [names.setdefault((owner, name), len(names)) for name in found.questions.ids]
        questions.append(np.array(ids, dtype=np.int64))
        contexts.append(found.questions.contexts + first)
        first += int(found.questions.contexts.max()) + 1
    rows, columns = np.concatenate(contexts), np.concatenate(questions) + first
    size = first + len(names)
    links = coo_array((np.ones(len(rows), dtype=np.int64), (rows, columns)), shape=(size, size))
    _, component = connected_components(links, directed=False)
    return [np.asarray(component[places], dtype=np.int64) for places in contexts]


def _parallel_sets(clusters: Sequence[IntArray]) -> list[list[int]]:
    """The places of sets that share clusters, group by group."""
    rows = np.repeat(np.arange(len(clusters)), [len(of_set) for of_set in clusters])
    columns = np.concatenate(clusters) + len(clusters)
    size = int(columns.max()) + 1
    links = coo_array((np.ones(len(rows), dtype=np.int64), (rows, columns)), shape=(size, size))
    _, component = connected_components(links, directed=False)
    of_sets = component[: len(clusters)]
    return [np.flatnonzero(of_sets == group).tolist() for group in np.unique(of_sets)]


def _drawn_means(sets: Sequence[SetScores], clusters: Sequence[IntArray], seed: int) -> FloatArray:
    """The sums over sets of their mean EM and F1 in each resample; ``[2, resamples]``."""
    numbers, places = np.unique(np.concatenate(clusters), return_inverse=True)
    bounds = np.cumsum([len(of_set) for of_set in clusters])[:-1]
    per_cluster = np.array(
        [
            np.bincount(of_set, weights=weights, minlength=len(numbers))
            for found, of_set in zip(sets, np.split(places, bounds), strict=True)
            for weights in (None, found.questions.exact_match, found.questions.f1)
        ],
        dtype=np.float64,
    )
    whole = per_cluster.sum(axis=1).reshape(len(sets), 3, 1)
    drawn = resample_sums(per_cluster, seed=seed).reshape(len(sets), 3, -1)
    drawn = np.where(drawn[:, :1] > 0, drawn, whole)
    return (drawn[:, 1:] / drawn[:, :1]).sum(axis=0)
