"""Intervals of means over sets: translations are drawn together, other sets by themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from qa_lightning.scoring.intervals import bootstrap_intervals
from qa_lightning.suites.averages import average_intervals, shared_clusters
from qa_lightning.suites.scores import SetScores
from tests.suites.made import set_scores

QUESTIONS = 400
RNG = np.random.default_rng(0)
F1 = (100 * RNG.random(QUESTIONS)).tolist()
IDS = [f"q{i}" for i in range(QUESTIONS)]
CONTEXTS = [i // 2 for i in range(QUESTIONS)]


def made(name: str, f1: Sequence[float] = F1, *, ids: Sequence[str] = IDS, own_ids: bool = True) -> SetScores:
    return set_scores(name, f1, ids=ids, contexts=CONTEXTS, own_ids=own_ids)


def width(*sets: SetScores) -> float:
    low, high = average_intervals(sets)["f1"]
    return high - low


def test_of_one_set_it_is_that_sets_interval() -> None:
    of_set = bootstrap_intervals({"f1": np.array(F1)}, np.array(CONTEXTS))["f1"]
    assert average_intervals([made("a")])["f1"] == pytest.approx(of_set, rel=1e-12)


def test_the_same_scores_on_translations_teach_nothing_more() -> None:
    of_one = average_intervals([made("a")])["f1"]
    assert average_intervals([made("a"), made("b"), made("c")])["f1"] == pytest.approx(of_one, rel=1e-12)


def test_sets_that_share_no_question_are_independent() -> None:
    others = [f"other {name}" for name in IDS]
    of_one, of_two = width(made("a")), width(made("a"), made("b", ids=others))
    assert of_two == pytest.approx(of_one / np.sqrt(2), rel=0.1)
    # Nor does an id that was made mean the same question.
    assert width(made("a"), made("b", own_ids=False)) == of_two


def test_contexts_are_drawn_together_where_a_question_links_them() -> None:
    a = set_scores("a", [0, 0, 0, 0], ids=["1", "2", "3", "4"], contexts=[0, 0, 1, 2])
    b = set_scores("b", [0, 0, 0], ids=["4", "3", "9"], contexts=[0, 0, 1])
    of_a, of_b = shared_clusters([a, b])
    assert of_a[0] == of_a[1]
    assert len({of_a[2], of_a[3], of_b[0], of_b[1]}) == 1  # b's first context holds 3 and 4 of two contexts of a
    assert len({*of_a, *of_b}) == 3


def test_many_questions_in_one_context_are_one_cluster() -> None:
    count = 256  # a number that a byte holds as 0
    ids = [f"q{i}" for i in range(count)]
    clusters = shared_clusters([set_scores(name, [0] * count, ids=ids, contexts=[0] * count) for name in "ab"])
    assert len({*clusters[0], *clusters[1]}) == 1
    assert average_intervals([set_scores("a", [50] * count, ids=ids, contexts=[0] * count)])["f1"] == (50, 50)


def test_sets_that_a_draw_leaves_out_are_no_trouble() -> None:
    small = [set_scores(f"s{i}", [50.0], ids=[f"q{7 * i}"], contexts=[0]) for i in range(50)]
    low, high = average_intervals([made("a"), *small])["f1"]
    assert 49.5 < low < high < 50.5
