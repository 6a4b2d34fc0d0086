"""Groups, against numbers worked out by hand and the obvious loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_lightning.runs.analysis import (
    OUTCOMES,
    Group,
    by_size,
    by_tenth,
    by_type,
    outcome,
)

SCORES = st.sampled_from([0.0, 25.0, 50.0, 100.0])


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((100.0, 100.0, True, True), "right"),
        ((100.0, 100.0, False, False), "right"),
        ((100.0, 100.0, False, True), "right"),  # such as "the", which the scorer takes for nothing
        ((0.0, 66.7, True, True), "partly right"),
        ((0.0, 0.0, True, True), "wrong"),
        ((0.0, 0.0, True, False), "false null"),
        ((0.0, 0.0, False, True), "false answer"),
        ((None, None, False, True), "not scored"),
    ],
)
def test_every_question_has_one_outcome(arguments: tuple, name: str) -> None:
    assert OUTCOMES[outcome(*arguments)] == name


def test_types_are_ordered_by_frequency_and_the_rare_ones_put_together() -> None:
    types = ["who", "what", "what", "", "when", "what", "who"]
    exact, f1 = floats(0, 100, 0, 0, 100, 0, 100), floats(50, 100, 0, 0, 100, 20, 100)
    assert by_type(types, exact, f1, most=2) == [
        Group("what", 3, pytest.approx(100 / 3), 40.0),
        Group("who", 2, 50.0, 75.0),
        Group("other", 2, 50.0, 50.0),
    ]
    assert [group.label for group in by_type(types, exact, f1)] == ["what", "who", "(no word)", "when"]


def test_sizes_are_cut_where_questions_are_not_where_numbers_are() -> None:
    sizes = np.array([1, 1, 1, 1, 2, 3, 4, 1000])
    exact, f1 = floats(0, 0, 0, 100, 100, 0, 0, 100), floats(0, 0, 0, 100, 100, 50, 50, 100)
    assert by_size(sizes, exact, f1, most=4) == [
        Group("1", 4, 25.0, 25.0),
        Group("2–3", 2, 50.0, 75.0),
        Group("4–1,000", 2, 50.0, 75.0),
    ]
    assert by_size(np.array([], dtype=np.int64), floats(), floats()) == []


@given(st.lists(st.tuples(st.integers(1, 40), SCORES), min_size=1, max_size=60), st.integers(1, 9))
def test_sizes_are_each_in_the_one_group_that_names_them(rows: list, most: int) -> None:
    sizes, scores = np.array([size for size, _ in rows]), floats(*(score for _, score in rows))
    groups = by_size(sizes, scores, scores, most)
    assert 1 <= len(groups) <= most
    edges = [[int(edge) for edge in group.label.split("–")] for group in groups]
    for group, edge in zip(groups, edges, strict=True):
        inside = [score for size, score in rows if edge[0] <= size <= edge[-1]]
        assert group.count == len(inside) > 0
        assert group.f1 == pytest.approx(sum(inside) / len(inside))
    assert sum(group.count for group in groups) == len(rows)


def test_tenths_hold_their_lower_edge_and_the_last_one_the_end() -> None:
    groups = by_tenth(floats(0.0, 0.05, 0.1, 0.95, 1.0), floats(100, 0, 0, 0, 0), floats(100, 50, 10, 0, 40))
    assert len(groups) == 10
    assert groups[0] == Group("0–10 %", 2, 50.0, 75.0)
    assert (groups[1].count, groups[1].f1) == (1, 10.0)
    assert (groups[9].label, groups[9].count, groups[9].f1) == ("90–100 %", 2, 20.0)
    assert groups[5].count == 0
    assert math.isnan(groups[5].f1)
