"""Shares of a data set, of which each contains all that are smaller."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qa_lightning.utils.arrays import BoolArray, IntArray


def nested_subsets(groups: IntArray, fractions: Sequence[float], *, seed: int = 0) -> list[BoolArray]:
    """Chooses about these shares of the questions, whole groups in one random order, so that they are nested.

    Args:
        groups: The number of each question's group, such as its paragraph; ``[questions]``.
        fractions: The shares, above 0 and at most 1.
        seed: Of the order.

    Returns:
        Whether each question is among those of a share: for each share, ``[questions]``. Each has one group at least;
        of the numbers of groups, that whose number of questions is nearest to the share.
    """
    _, of_group = np.unique(groups, return_inverse=True)
    counts = np.bincount(of_group)
    order = np.random.default_rng(seed).permutation(len(counts))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    totals = counts[order].cumsum()
    kept = [int(np.abs(totals - fraction * totals[-1]).argmin()) for fraction in fractions]
    return [rank[of_group] <= last for last in kept]
