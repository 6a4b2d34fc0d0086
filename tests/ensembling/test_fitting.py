"""Weights that are fitted to questions: by hand, against an obvious search, and honestly."""

from __future__ import annotations

import numpy as np
import pytest

from qa_lightning.ensembling.fitting import Candidates, best_weights, nested_scores, undominated
from qa_lightning.utils.errors import UserError


def candidates(
    first: list[list[float]],
    second: list[list[float]],
    f1: list[list[float]],
    *,
    nulls: list[list[float]] | None = None,
    null_f1: list[float] | None = None,
    contexts: list[int] | None = None,
) -> Candidates:
    """Two members and any number of questions."""
    return Candidates(
        np.array([first, second]),
        np.zeros((2, len(f1))) if nulls is None else np.array(nulls),
        np.array(f1),
        np.zeros(len(f1)) if null_f1 is None else np.array(null_f1),
        np.arange(len(f1)) if contexts is None else np.array(contexts),
        np.zeros(2),
    )


def test_scores_by_hand() -> None:
    found = candidates(
        [[0.6, 0.4], [0.5, 0.2]], [[0.1, 0.9], [0.1, 0.1]], [[1.0, 0.0], [0.0, 0.5]], nulls=[[0.0, 0.3], [0.0, 0.8]],
        null_f1=[0.0, 1.0],
    )  # fmt: skip
    assert found.scores(np.array([1.0, 0.0])).tolist() == [1.0, 0.0]
    assert found.scores(np.array([0.0, 1.0])).tolist() == [0.0, 1.0]
    # ¾ · 0.6 + ¼ · 0.1 = 0.475 < 0.525; null: ¾ · 0.3 + ¼ · 0.8 = 0.425 > 0.4
    assert found.scores(np.array([0.75, 0.25])).tolist() == [0.0, 1.0]


def test_what_no_answer_is_left_for_is_null() -> None:
    found = candidates([[0.0]], [[0.0]], [[0.0]], nulls=[[1.0], [1.0]], null_f1=[1.0])
    assert found.scores(np.array([0.5, 0.5])).tolist() == [1.0]


def test_the_search_finds_a_mixture_that_beats_both() -> None:
    # The first question needs w₁ ≥ 0.5, the second w₁ < 0.7, the third w₁ > 0.62.
    found = candidates(
        [[0.5, 0.0], [0.3, 0.0], [0.38, 0.0]], [[0.0, 0.5], [0.0, 0.7], [0.0, 0.62]], [[1, 0], [0, 1], [1, 0]]
    )
    weights = best_weights(found)
    assert 0.62 < weights[0] < 0.7
    assert weights.sum() == pytest.approx(1)
    assert found.scores(weights).tolist() == [1, 1, 1]


def test_equal_weights_stay_where_no_others_are_better() -> None:
    found = candidates([[0.6, 0.4]], [[0.6, 0.4]], [[1.0, 0.0]])
    assert best_weights(found).tolist() == [0.5, 0.5]


def test_the_search_is_hardly_worse_than_a_grid() -> None:
    random = np.random.default_rng(0)
    grid = [np.array([a, b, 20 - a - b]) / 20 for a in range(21) for b in range(21 - a)]
    for _ in range(5):
        probabilities, f1 = random.dirichlet(np.ones(4), (3, 40)), random.random((40, 4)).round(1)
        found = Candidates(probabilities, np.zeros((3, 40)), f1, np.zeros(40), np.arange(40), np.zeros(3))
        reached = found.scores(best_weights(found)).mean()
        assert reached > max(found.scores(weights).mean() for weights in grid) - 0.02
        assert reached >= max(found.scores(weights).mean() for weights in (np.full(3, 1 / 3), *np.eye(3)))


def test_the_figure_is_by_weights_that_have_not_seen_the_context() -> None:
    # Equal weights are right of both, whichever of them they are fitted to.
    easy = candidates([[0.9, 0.0], [0.3, 0.0]], [[0.0, 0.6], [0.0, 0.9]], [[1, 0], [0, 1]])
    assert nested_scores(easy).tolist() == [1, 1]
    # The first needs w₁ < ⅓, the second w₁ > ⅔: what is fitted to the one is wrong of the other.
    hard = candidates([[0.6, 0.0], [0.3, 0.0]], [[0.0, 0.3], [0.0, 0.6]], [[0, 1], [1, 0]])
    assert hard.scores(best_weights(hard)).mean() == 0.5
    assert nested_scores(hard).tolist() == [0, 0]


def test_questions_of_a_context_stay_together() -> None:
    found = candidates([[1.0]] * 4, [[1.0]] * 4, [[1.0]] * 4, contexts=[0, 0, 0, 0])
    with pytest.raises(UserError, match="all questions are on one context"):
        nested_scores(found)


def test_only_what_may_win_is_kept() -> None:
    random = np.random.default_rng(0)
    for count in (1, 5, 300):
        logs = np.log(random.random((3, count)).round(2) + 1e-9)
        kept = undominated(logs)
        slow = [
            s
            for s in range(count)
            if not any(
                (logs[:, t] >= logs[:, s]).all() and ((logs[:, t] > logs[:, s]).any() or t < s) for t in range(count)
            )
        ]
        assert kept.tolist() == slow
