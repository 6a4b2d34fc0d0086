"""Thresholds and curves over them, against numbers worked out by hand and the obvious loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_lightning.scoring.thresholds import (
    apply_threshold,
    average_precision,
    best_threshold,
    official_best_threshold,
    precision_recall_curve,
    threshold_curve,
)

NA_SCORES = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 3.0])
SCORES = st.sampled_from([0.0, 25.0, 50.0, 100.0])


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


# A few values only, so that ties are common; all sums of them are exact.
rows = st.lists(
    st.tuples(
        st.booleans(),
        st.sampled_from([0.0, 0.25, 0.5, 1.0]),
        st.booleans(),
        st.sampled_from([-2.5, 0.0, 0.1, 0.1 + 2**-56, 0.1 + 2**-55, 0.7, 3.0, 1e30]),
    ),
    min_size=1,
    max_size=12,
)


@settings(deadline=None)
@given(rows)
def test_official_best_threshold_is_the_walk_of_the_script(rows: list) -> None:
    rows.sort(key=lambda row: row[3])
    best = current = sum(not has_answer for has_answer, *_ in rows)
    threshold = 0.0
    for has_answer, score, answered, na in rows:
        current += score if has_answer else (-1 if answered else 0)
        if current > best:
            best, threshold = current, na
    has_answer, score, answered, na = map(np.array, zip(*rows, strict=True))
    expected = (100 * best / len(rows), threshold)
    found = official_best_threshold(np.where(has_answer, score, ~answered), (~has_answer).astype(float), na)
    assert found == expected


@settings(deadline=None)
@given(rows)
def test_best_threshold_is_the_best_and_gives_what_it_says(rows: list) -> None:
    null, answered, _, odds = (np.array(column, dtype=float) for column in zip(*rows, strict=True))

    def at(threshold: float) -> float:
        return 100 * float(np.where(odds > threshold, null, answered).sum()) / len(rows)

    best, threshold = best_threshold(answered, null, odds)
    assert np.isfinite(threshold)
    assert at(threshold) == best == max(map(at, [-np.inf, *odds]))


@pytest.mark.parametrize(
    ("answered", "null", "odds", "best", "threshold"),
    [
        ([1, 1, 0], [0, 0, 1], [-4.0, 1.0, 2.0], 100, 1.5),  # halfway
        ([1, 1, 0], [0, 0, 1], [-4.0, 1.0, 9.0], 100, 2.0),  # not more than 1 away
        ([0, 0], [1, 1], [-4.0, 1.0], 100, -5.0),  # all null
        ([1, 1], [0, 0], [-4.0, 1.0], 100, 2.0),  # none null
        ([0, 1, 0], [1, 0, 1], [3.0, 3.0, 3.0], 200 / 3, 2.0),  # equal odds are not parted
        ([1, 0], [0, 1], [1 + 2**-52, 1 + 2**-51], 100, 1 + 2**-52),  # no float lies between
        ([0], [1], [2.0**60], 100, 2.0**60 - 128),  # subtracting 1 would change nothing
    ],
)
def test_best_threshold_by_hand(answered: list, null: list, odds: list, best: float, threshold: float) -> None:
    given = (np.array(column, dtype=float) for column in (answered, null, odds))
    assert best_threshold(*given) == (pytest.approx(best), threshold)


def test_apply_threshold_keeps_a_score_at_the_threshold() -> None:
    scores = apply_threshold(
        np.array([0.5, 0.5, 0.5, 0.0]),
        np.array([0.0, 0.0, 1.0, 1.0]),
        np.array([1.0, 1.1, 1.1, 1.0]),
        threshold=1.0,
    )
    assert scores.tolist() == [0.5, 0.0, 1.0, 0.0]


def test_the_threshold_curve_by_hand() -> None:
    # Two share a score, so no threshold parts them.
    thresholds, scores = threshold_curve(
        if_answered=floats(100, 0, 50, 0), if_null=floats(0, 100, 0, 100), na_scores=floats(-1, 2, 0, 0)
    )
    assert thresholds.tolist() == [-math.inf, -1.0, 0.0, 2.0]
    assert scores.tolist() == [50.0, 75.0, 62.5, 37.5]


@given(st.lists(st.tuples(SCORES, SCORES, NA_SCORES), min_size=1, max_size=30))
def test_the_threshold_curve_is_the_mean_score_at_each_threshold(rows: list) -> None:
    answered, null, na_scores = (floats(*column) for column in zip(*rows, strict=True))
    thresholds, scores = threshold_curve(answered, null, na_scores)
    assert thresholds.tolist() == [-math.inf, *sorted(set(na_scores.tolist()))]
    for threshold, score in zip(thresholds, scores, strict=True):
        slowly = [a if na <= threshold else n for a, n, na in rows]
        assert score == pytest.approx(sum(slowly) / len(slowly))
    assert scores.max() == pytest.approx(best_threshold(answered / 100, null / 100, na_scores)[0])


@given(st.lists(st.tuples(SCORES, st.booleans(), NA_SCORES), min_size=1, max_size=30))
def test_precision_and_recall_at_each_threshold(rows: list) -> None:
    has_answer = np.array([answerable for _, answerable, _ in rows])
    if not has_answer.any():
        return
    scores, na_scores = floats(*(score for score, _, _ in rows)), floats(*(na for _, _, na in rows))
    recall, precision = precision_recall_curve(scores, has_answer, na_scores)
    for i, threshold in enumerate(sorted(set(na_scores.tolist()))):
        taken = [(score, answerable) for score, answerable, na in rows if na <= threshold]
        found = sum(score for score, answerable in taken if answerable)
        assert precision[i] == pytest.approx(found / len(taken))
        assert recall[i] == pytest.approx(found / has_answer.sum())
    order = np.argsort(na_scores, kind="stable")
    area = (precision * np.diff(recall, prepend=0.0)).sum() / 100
    assert area == pytest.approx(average_precision(scores[order] / 100, has_answer[order], na_scores[order]))
