"""Folds of a data set: whole groups of questions, with about as many answerable questions in each."""

from __future__ import annotations

import numpy as np

from qa_lightning.utils.arrays import BoolArray, FloatArray, IntArray
from qa_lightning.utils.errors import UserError


def assign_folds(groups: IntArray, answerable: BoolArray, folds: int, *, seed: int = 0) -> IntArray:
    """Assigns each group of questions to a fold, so that folds have alike shares of answerable and other questions.

    The groups are taken one after the other, the largest first and of equals in random order, each by the fold that
    makes the sum of squared shares, of the answerable questions and of the others, least; of equals, by that with the
    fewest questions, so that no fold is left empty. Then single groups change their folds for as long as that makes
    the sum smaller.

    Args:
        groups: The number of each question's group; ``[questions]``.
        answerable: Whether it is answerable; ``[questions]``.
        folds: How many folds there are, two at least.
        seed: Of the random order.

    Returns:
        The fold of each question, from 0 on; ``[questions]``.

    Raises:
        UserError: There are fewer groups than folds.
    """
    numbers, of_group = np.unique(groups, return_inverse=True)
    if len(numbers) < folds:
        raise UserError(f"{len(numbers):,} groups of questions cannot make {folds} folds")
    kinds = np.stack([answerable, ~answerable]).astype(np.float64)
    counts = np.array([np.bincount(of_group, weights=kind, minlength=len(numbers)) for kind in kinds])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    order = np.random.default_rng(seed).permutation(len(numbers))
    order = order[np.argsort(-(shares[:, order] ** 2).sum(axis=0), kind="stable")]
    fold_of_group = np.zeros(len(numbers), dtype=np.int64)
    filled, sizes = np.zeros((2, folds)), np.zeros(folds)
    for group in order.tolist():
        # Adding b to a sum of squares adds 2ab + b², of which only the first differs between folds.
        costs = shares[:, group] @ filled
        fold = int(np.lexsort((sizes, costs))[0])
        fold_of_group[group] = fold
        filled[:, fold] += shares[:, group]
        sizes[fold] += counts[:, group].sum()
    _move_groups(fold_of_group, shares, filled)
    return fold_of_group[of_group]


def _move_groups(fold_of_group: IntArray, shares: FloatArray, filled: FloatArray) -> None:
    """Moves one group after the other to another fold, in place: each time the one that gains most, until none does.

    Args:
        fold_of_group: The fold of each group; ``[groups]``.
        shares: The share of each group in both kinds of questions; ``[2, groups]``.
        filled: The share of each fold; ``[2, folds]``.
    """
    every, squares = np.arange(len(fold_of_group)), (shares**2).sum(axis=0)
    while True:
        costs = shares.T @ filled
        # Half of what the sum of squares loses; below 0 for the fold that a group is in.
        gains = (costs[every, fold_of_group] - squares)[:, None] - costs
        # No fold is emptied.
        gains[np.bincount(fold_of_group)[fold_of_group] == 1] = 0.0
        group, fold = np.unravel_index(gains.argmax(), gains.shape)
        # What rounding alone gains would go back and forth.
        if gains[group, fold] <= 1e-12:
            return
        filled[:, fold_of_group[group]] -= shares[:, group]
        filled[:, fold] += shares[:, group]
        fold_of_group[group] = fold
