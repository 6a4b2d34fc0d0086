from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qa_lightning.experiments.folds import assign_folds
from qa_lightning.utils.errors import UserError


def cost(groups, answerable, folds_of_questions, folds):
    """The sum of the squared shares of both kinds of questions in all folds, counted question by question."""
    total = 0.0
    for kind in (True, False):
        of_kind = [fold for fold, is_kind in zip(folds_of_questions, answerable == kind, strict=True) if is_kind]
        total += sum((of_kind.count(fold) / len(of_kind)) ** 2 for fold in range(folds)) if of_kind else 0.0
    return total


def best_cost(groups, answerable, folds):
    """The least cost of all ways to assign the groups that leave no fold empty."""
    numbers = sorted(set(groups.tolist()))
    ways = (
        dict(zip(numbers, way, strict=True))
        for way in itertools.product(range(folds), repeat=len(numbers))
        if len(set(way)) == folds
    )
    return min(cost(groups, answerable, [way[group] for group in groups.tolist()], folds) for way in ways)


def test_equal_groups_are_divided_evenly():
    groups = np.repeat(np.arange(10), 4)
    answerable = np.tile([True, True, True, False], 10)
    folds = assign_folds(groups, answerable, 5)
    assert np.bincount(folds).tolist() == [8] * 5
    assert np.bincount(folds[~answerable]).tolist() == [2] * 5
    assert assign_folds(groups, answerable, 5, seed=1).tolist() != folds.tolist()
    assert assign_folds(groups, answerable, 5).tolist() == folds.tolist()


def test_unanswerable_questions_are_divided_where_groups_hold_one_kind():
    # Six paragraphs of two answerable questions, and three of two unanswerable ones.
    groups = np.repeat(np.arange(9), 2)
    answerable = groups < 6
    folds = assign_folds(groups, answerable, 3)
    assert np.bincount(folds[answerable]).tolist() == [4, 4, 4]
    assert np.bincount(folds[~answerable]).tolist() == [2, 2, 2]


def test_a_large_group_has_a_fold_of_its_own():
    groups = np.array([7] * 30 + [1, 2, 3, 4, 5, 6])
    folds = assign_folds(groups, np.ones(36, dtype=bool), 2)
    assert len(set(folds[:30].tolist())) == 1
    assert set(folds[30:].tolist()) == {1 - folds[0]}


@settings(max_examples=60, deadline=None)
@example([(0, False), (0, True), (1, True), (1, True), (2, False), (2, False)], 2, 0)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=4, max_size=24).filter(
        lambda rows: len({group for group, _ in rows}) >= 3
    ),
    st.integers(2, 3),
    st.integers(0, 9),
)
def test_folds_are_whole_none_is_empty_and_all_are_nearly_as_alike_as_can_be(rows, folds, seed):
    groups, answerable = (np.array(column) for column in zip(*rows, strict=True))
    found = assign_folds(groups, answerable, folds, seed=seed)
    assert set(found.tolist()) == set(range(folds))
    for group in set(groups.tolist()):
        assert len(set(found[groups == group].tolist())) == 1
    # One after the other is not always the best of all ways, but never far from it.
    best = best_cost(groups, answerable, folds)
    assert best - 1e-9 <= cost(groups, answerable, found.tolist(), folds) <= 1.35 * best


def test_fewer_groups_than_folds():
    with pytest.raises(UserError, match="2 groups of questions cannot make 3 folds"):
        assign_folds(np.array([4, 4, 9]), np.array([True, True, False]), 3)
