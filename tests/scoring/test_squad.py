import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from qa_lightning.scoring.squad import (
    evaluate,
    normalize,
    score_question,
    score_question_v1,
    summarize,
)
from qa_lightning.utils.errors import UserError
from tests.scoring import reference
from tests.scoring.reference import SQUAD_PREDICTIONS, DataSet, data_sets, read_golds, texts


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Quick,\tbrown fox.", "quick brown fox"),
        ("an apple a day", "apple day"),
        ("Theatre and another", "theatre and another"),
        ("the-end", "theend"),  # punctuation goes before articles are looked for
        ("a.", ""),
        ("«das Haus»", "«das haus»"),  # only ASCII punctuation goes
        ("ÉCOLE", "école"),
        ("no\u00a0break", "no break"),
        ("", ""),
    ],
)
def test_normalize(text: str, normal: str) -> None:
    assert normalize(text) == normal


@pytest.mark.parametrize(
    ("prediction", "golds", "em", "f1"),
    [
        ("the Eiffel Tower!", ["Eiffel tower"], 1, 1),
        ("Eiffel Tower in Paris", ["Eiffel Tower"], 0, 2 * 0.5 * 1 / 1.5),
        ("tower eiffel", ["Eiffel tower"], 0, 1),
        ("b b b", ["b b c c"], 0, 2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4)),  # a bag, not a set
        ("x y", ["x", "x y z", "w"], 0, 0.8),  # the maximum of 2/3, 4/5 and 0
        ("x", ["y"], 0, 0),
        ("", ["x"], 0, 0),
        ("the", ["x"], 0, 0),
        ("", [], 1, 1),
        ("the", [], 1, 1),
        ("x", [], 0, 0),
        ("x", ["the", "x"], 1, 1),
        ("", ["the", "x"], 0, 0),  # a gold that normalises to nothing does not count ...
        ("", ["the", "..."], 1, 1),  # ... but where there is no other, "no answer" is right
    ],
)
def test_score_question(prediction: str, golds: Sequence[str], em: float, f1: float) -> None:
    assert score_question(prediction, golds) == (em, pytest.approx(f1, abs=1e-15))


@pytest.mark.parametrize(("name", "data"), SQUAD_PREDICTIONS)
def test_figures_equal_those_of_the_official_script(shared: Path, name: str, data: str) -> None:
    golds = read_golds(shared / f"data/{data}.json")
    predictions = json.loads((shared / f"golden/{name}.predictions.json").read_text())
    official = json.loads((shared / f"golden/{name}.official.json").read_text())
    na_file = shared / f"golden/{name}.na_prob.json"
    na_scores = json.loads(na_file.read_text()) if na_file.exists() else None

    found = evaluate(golds, predictions, na_scores)

    expected = set(official)
    if na_scores is not None:  # the script prints them where it is asked for curves; ours always does
        expected |= {"pr_exact_ap", "pr_f1_ap", "pr_oracle_ap"}
    assert set(found) == expected
    assert {key: found[key] for key in official} == pytest.approx(official, rel=0, abs=1e-9)
    slow = reference.figures(golds, predictions, na_scores, 1.0, reference.squad_rule)
    assert found == pytest.approx(slow, rel=0, abs=1e-9)


@settings(deadline=None, max_examples=200)
@given(data_sets())
def test_figures_equal_those_of_the_slow_reference(drawn: DataSet) -> None:
    golds, predictions, na_scores, threshold = drawn
    for scores in (None, na_scores):
        slow = reference.figures(golds, predictions, scores, threshold, reference.squad_rule)
        assert evaluate(golds, predictions, scores, threshold) == pytest.approx(slow, rel=0, abs=1e-9)


@settings(deadline=None, max_examples=200)
@given(texts())
def test_normalising_equals_the_slow_reference(text: str) -> None:
    assert normalize(text) == reference.squad_normal(text)


GOLDS = {"q1": ["red car"], "q2": ["blue"], "q3": [], "q4": []}


def test_evaluate_by_hand() -> None:
    figures = evaluate(GOLDS, {"q1": "car", "q2": "the blue", "q3": "", "q4": "green"})
    assert figures == {
        "exact": 50,
        "f1": pytest.approx(100 * (2 / 3 + 1 + 1 + 0) / 4),
        "total": 4,
        "HasAns_exact": 50,
        "HasAns_f1": pytest.approx(100 * (2 / 3 + 1) / 2),
        "HasAns_total": 2,
        "NoAns_exact": 50,
        "NoAns_f1": 50,
        "NoAns_total": 2,
    }


def test_evaluate_by_hand_with_no_answer_scores() -> None:
    predictions = {"q1": "red car", "q2": "wrong", "q3": "car", "q4": "car"}
    figures = evaluate(GOLDS, predictions, {"q1": 0.1, "q2": 0.6, "q3": 0.3, "q4": 0.9}, na_threshold=0.5)
    # Answered are q1, right, and q3, wrong; left unanswered are q2, wrong, and q4, right.
    assert (figures["exact"], figures["HasAns_exact"], figures["NoAns_exact"]) == (50, 50, 50)
    # Best is to answer q1 only.
    assert (figures["best_exact"], figures["best_exact_thresh"]) == (75, 0.1)
    # Answering q1: precision 1, recall 1/2; nothing is found after it.
    assert figures["pr_exact_ap"] == figures["pr_f1_ap"] == 50
    # In order q1, q3, q2, q4: precision 1 and recall 1/2, then precision 2/3 and recall 1.
    assert figures["pr_oracle_ap"] == pytest.approx(100 * (1 * 0.5 + 2 / 3 * 0.5))


def test_only_the_kinds_of_questions_that_exist_have_figures() -> None:
    answerable = evaluate({"q": ["x"]}, {"q": "x"}, {"q": 0.5})
    assert "HasAns_f1" in answerable
    assert "pr_f1_ap" in answerable
    assert not any(key.startswith("NoAns") for key in answerable)
    unanswerable = evaluate({"q": []}, {"q": "x"}, {"q": 0.5})
    assert "NoAns_f1" in unanswerable
    assert not any(key.startswith(("HasAns", "pr_")) for key in unanswerable)
    # The script asks whether there are golds, not whether any is left after normalising.
    assert evaluate({"q": ["the"]}, {"q": ""})["HasAns_exact"] == 100


def test_order_of_equal_no_answer_scores_is_that_of_their_file() -> None:
    golds: Mapping[str, list[str]] = {"right": ["x"], "wrong": []}
    predictions = {"right": "x", "wrong": "y"}
    first = evaluate(golds, predictions, {"right": 0.5, "wrong": 0.5})
    assert (first["best_f1"], first["best_f1_thresh"]) == (100, 0.5)
    last = evaluate(golds, predictions, {"wrong": 0.5, "right": 0.5})
    assert (last["best_f1"], last["best_f1_thresh"]) == (50, 0.0)


def test_predictions_and_scores_of_other_questions_are_ignored() -> None:
    assert evaluate({"q": ["x"]}, {"q": "x", "other": "y"}, {"q": 0, "other": 1})["total"] == 1


def test_missing_predictions_score_nothing_and_count() -> None:
    figures = evaluate(GOLDS, {"q2": "blue", "q4": ""})
    assert (figures["exact"], figures["f1"], figures["total"], figures["missing"]) == (50, 50, 4, 2)
    assert (figures["HasAns_exact"], figures["HasAns_f1"], figures["HasAns_total"]) == (50, 50, 2)
    assert (figures["NoAns_exact"], figures["NoAns_f1"], figures["NoAns_total"]) == (50, 50, 2)


def test_missing_predictions_gain_nothing_at_any_threshold() -> None:
    # q1 is answerable and q3 is not; their no-answer scores would make them the first and the last answered.
    na_scores = {"q1": 0.1, "q2": 0.3, "q3": 0.9, "q4": 0.5}
    figures = evaluate(GOLDS, {"q2": "blue", "q4": "x"}, na_scores, na_threshold=0.4)
    assert (figures["exact"], figures["HasAns_f1"], figures["NoAns_f1"], figures["missing"]) == (50, 50, 50, 2)
    assert (figures["best_exact"], figures["best_exact_thresh"]) == (50, 0.3)
    # One of two answerable questions can be found, and is found first.
    assert figures["pr_exact_ap"] == figures["pr_oracle_ap"] == 50
    assert evaluate(GOLDS, {"q2": "blue", "q4": "x"}, {"q2": 0.3, "q4": 0.5}, 0.4) == figures


def test_best_thresholds_look_at_the_text_and_not_at_what_is_left_of_it() -> None:
    golds: Mapping[str, list[str]] = {"none": [], "some": ["x"]}
    na_scores = {"none": 0.25, "some": 0.5}
    assert evaluate(golds, {"none": "", "some": "x"}, na_scores)["best_f1"] == 100
    figures = evaluate(golds, {"none": "the", "some": "x"}, na_scores)
    assert (figures["f1"], figures["best_f1"], figures["best_f1_thresh"]) == (100, 50, 0)


def test_no_prediction_at_all() -> None:
    figures = evaluate(GOLDS, {}, {})
    assert figures["missing"] == figures["total"] == 4
    assert not any(value for key, value in figures.items() if not key.endswith(("total", "missing")))


def test_another_rule() -> None:
    figures = evaluate({"q": ["x"], "r": ["y"]}, {"q": "x", "r": "y"}, score=lambda text, golds: (0.0, 0.25))
    assert (figures["exact"], figures["f1"]) == (0, 25)


def test_no_question_is_refused() -> None:
    with pytest.raises(UserError, match="no question to score"):
        evaluate({}, {})


def test_predictions_without_a_no_answer_score_are_counted_and_named() -> None:
    golds = {f"q{number}": ["x"] for number in range(6)}
    predictions = dict.fromkeys(list(golds)[1:], "x")
    with pytest.raises(UserError, match=r"^4 of 5 predictions have no no-answer score \('q1', 'q2', 'q3', …\); give"):
        evaluate(golds, predictions, {"q0": 0.5, "q4": 0.5})
    with pytest.raises(UserError, match=r"^1 of 5 predictions have no no-answer score \('q5'\); give"):
        evaluate(golds, predictions, dict.fromkeys(list(golds)[:5], 0.5))


def test_summarize_is_in_float64() -> None:
    third = np.full(3, 1 / 3)
    assert summarize(third, third, np.ones(3, dtype=bool))["f1"] == pytest.approx(100 / 3, rel=0, abs=1e-13)


@pytest.mark.parametrize(
    ("prediction", "golds", "em", "f1"),
    [
        ("the Eiffel Tower!", ["Eiffel tower"], 1, 1),
        ("the", ["the", "x"], 1, 0),  # a gold that normalises to nothing is one like any other
        ("", ["the"], 1, 0),
        ("", ["x"], 0, 0),
        ("", [], 1, 1),
        ("x", [], 0, 0),
    ],
)
def test_score_question_as_for_squad_v1(prediction: str, golds: Sequence[str], em: float, f1: float) -> None:
    assert score_question_v1(prediction, golds) == (em, pytest.approx(f1, abs=1e-15))


@settings(deadline=None, max_examples=200)
@given(reference.data_sets())
def test_figures_for_squad_v1_equal_those_of_the_slow_reference(drawn: reference.DataSet) -> None:
    golds, predictions, na_scores, threshold = drawn
    for scores in (None, na_scores):
        slow = reference.figures(golds, predictions, scores, threshold, reference.squad_v1_rule)
        figures = evaluate(golds, predictions, scores, threshold, score_question_v1)
        assert figures == pytest.approx(slow, rel=0, abs=1e-9)
