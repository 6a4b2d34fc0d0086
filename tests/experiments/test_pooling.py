from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from qa_lightning.experiments.pooling import at_thresholds, figures_of, nested_thresholds, pool
from qa_lightning.utils.errors import UserError
from tests.runs.test_comparison import table_of


def questions(rows: list[tuple[str, bool, float]]) -> pa.Table:
    """Questions with an id, whether they are answerable, and null odds; the best span is right where one is."""
    count = len(rows)
    answerable = [has_answer for _, has_answer, _ in rows]
    right = [100.0 * has_answer for has_answer in answerable]
    columns: dict[str, Any] = {
        "id": [name for name, _, _ in rows],
        "golds": [[{"text": "gold"}] if has_answer else [] for has_answer in answerable],
        "null_odds": [odds for _, _, odds in rows],
        "na_prob": [0.25] * count,
        "span_exact_match": right,
        "span_f1": right,
        "null_exact_match": [100 - value for value in right],
        "null_f1": [100 - value for value in right],
        "answers": [
            [
                {"text": "gold", "start": 0, "end": 4, "start_logit": 1.0, "end_logit": 2.0, "probability": 0.75},
                {"text": "", "start": 0, "end": 0, "start_logit": 0.5, "end_logit": 0.0, "probability": 0.25},
            ]
        ]
        * count,
        "prediction": ["at first"] * count,
    }
    return table_of([0.0] * count, range(count), **columns)


def test_each_fold_is_scored_at_a_threshold_of_the_others() -> None:
    # Odds of the unanswerable are above those of the answerable in all folds, but at another place in each.
    first = questions([("a", True, 0.0), ("b", False, 2.0)])
    second = questions([("c", True, 10.0), ("d", False, 12.0)])
    third = questions([("e", True, 10.5), ("f", False, 12.5)])
    pooled = pool([first, second, third], ["f", "e", "d", "c", "b", "a"])
    assert pooled.table["id"].to_pylist() == ["f", "e", "d", "c", "b", "a"]
    assert pooled.table["row"].to_pylist() == list(range(6))
    assert pooled.folds.tolist() == [2, 2, 1, 1, 0, 0]
    # Of the others' odds, those from 10.5 to 12 part the first fold's; those of the first and third have two places
    # that lose one question, of which the lowest counts: from 0 to 2. So c is left unanswered, and so is e.
    assert pooled.thresholds == [11.25, 1.0, 1.0]
    assert pooled.table["prediction"].to_pylist() == ["", "", "", "", "gold", "gold"]
    assert pooled.table["f1"].to_pylist() == [100.0, 0.0, 100.0, 0.0, 0.0, 100.0]
    assert pooled.table["score"].to_pylist() == [0.5, 0.5, 0.5, 0.5, 3.0, 3.0]
    assert pooled.table["probability"].to_pylist() == [0.25, 0.25, 0.25, 0.25, 0.75, 0.75]


def test_no_fold_has_a_say_in_its_own_threshold() -> None:
    dice = np.random.default_rng(0)
    folds = np.repeat(np.arange(3), 20)
    answered, null, odds = (dice.random(60), dice.random(60), dice.normal(size=60))
    before = nested_thresholds(answered, null, odds, folds)
    for fold in range(3):
        changed = np.where(folds == fold, 1 - answered, answered)
        after = nested_thresholds(changed, np.where(folds == fold, 0.0, null), odds, folds)
        assert after[fold] == before[fold]


def test_scores_that_know_no_null_are_left_as_they_are() -> None:
    tables = [table_of([100.0], [0], id=["a"]), table_of([50.0], [1], id=["b"])]
    pooled = pool(tables, ["a", "b"])
    assert pooled.thresholds is None
    assert figures_of(pooled.table) == {"exact_match": 50.0, "f1": 75.0, "total": 2}


def test_figures_are_of_both_kinds_of_questions() -> None:
    table = at_thresholds(questions([("a", True, 1.0), ("b", False, 1.0), ("c", True, 3.0)]), np.array([2.0, 2.0, 2.0]))
    assert figures_of(table) == {
        "exact_match": pytest.approx(100 / 3),
        "f1": pytest.approx(100 / 3),
        "total": 3,
        "HasAns_exact": 50.0,
        "HasAns_f1": 50.0,
        "HasAns_total": 2,
        "NoAns_exact": 0.0,
        "NoAns_f1": 0.0,
        "NoAns_total": 1,
    }


def test_folds_that_lack_a_question_are_refused() -> None:
    with pytest.raises(UserError, match="do not hold each question once"):
        pool([table_of([1.0], [0], id=["a"]), table_of([1.0], [0], id=["a"])], ["a", "b"])
