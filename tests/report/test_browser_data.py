"""The questions as the page holds them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from qa_lightning.records import Prediction
from qa_lightning.report.browser import FIELDS, page_data
from tests.report.runs import CONTEXT, EMOJI, HOSTILE, answered, some, table


def read(predictions: list[Prediction], **settings: Any) -> tuple[list[dict[str, Any]], list[str]]:
    data = json.loads(page_data(table(predictions), **({"n_best": 5} | settings)).data)
    return [dict(zip(data["fields"], values, strict=True)) for values in data["questions"]], data["contexts"]


def cut(context: str, span: list[int]) -> str:
    """What JavaScript's ``slice`` gives: of UTF-16 code units."""
    return context.encode("utf-16-le")[2 * span[0] : 2 * span[1]].decode("utf-16-le")


def test_a_question_by_hand() -> None:
    (question,), contexts = read([answered(7, ["London", "Ada"], "in London", "", "Ada", null_odds=-1.23456, name="x")])
    assert contexts == [CONTEXT]
    assert question == {
        "id": "x",
        "question": "Who wrote the program?",
        "type": "who",
        "windows": 1,
        "context": 0,
        "golds": [[31, 37], [0, 3]],
        "prediction": [28, 37],
        "outcome": 1,
        "exact": 0.0,
        "f1": 66.67,
        "score": 1.4,
        "probability": 0.7,
        "nullOdds": -1.235,
        "nBest": [[28, 37, 0.7], [0, 0, 0.2], [0, 3, 0.1]],
    }


def test_each_context_stands_there_once() -> None:
    questions, contexts = read([*some(), answered(9, ["Ada"], "Ada", context=EMOJI), answered(10, ["Ada"], "Ada")])
    assert contexts == [CONTEXT, EMOJI]
    assert [question["context"] for question in questions] == [0] * 6 + [1, 0]


def test_offsets_count_as_javascript_does() -> None:
    (question,), (context,) = read([answered(0, ["wrote the first"], "👩‍💻 wrote", "Ada", context=EMOJI)])
    assert cut(context, question["golds"][0]) == "wrote the first"
    assert cut(context, question["prediction"]) == "👩‍💻 wrote"
    assert [cut(context, answer) for answer in question["nBest"]] == ["👩‍💻 wrote", "Ada"]


def test_golds_are_kept_once_and_as_published() -> None:
    prediction = answered(0, ["Ada", "Ada", "ada", "nowhere"], "Ada")
    # Found again in another case, as the data's repair does.
    prediction.question.gold_spans = ((0, 3), (0, 3), (0, 3), None)
    (question,), _ = read([prediction])
    assert question["golds"] == [[0, 3], [0, 3, "ada"], ["nowhere"]]
    assert [row["golds"] for row in read([answered(0, [], "Ada"), answered(1, None, "Ada")])[0]] == [[], None]


def test_the_prediction_is_given_also_where_null_takes_its_place_among_the_candidates() -> None:
    # A threshold above 0 predicts the second best.
    prediction = answered(0, ["Ada"], "", "Ada", "Grace")
    prediction.text = "Ada"
    (question,), (context,) = read([prediction], n_best=1)
    assert cut(context, question["prediction"]) == "Ada"
    assert question["nBest"] == [[0, 0, 0.7]]
    (question,), _ = read([answered(0, ["Ada"], "", "Ada")])
    assert question["prediction"] is None


def test_a_number_that_json_cannot_hold_is_left_out() -> None:
    (question,), _ = read([answered(0, ["Ada"], "Ada", null_odds=float("inf"))])
    assert question["nullOdds"] is None


def test_no_character_of_data_can_end_the_element_that_holds_it() -> None:
    prediction = answered(0, [HOSTILE], HOSTILE, context=f"{HOSTILE} Ada", question=HOSTILE, name=HOSTILE)
    data = page_data(table([prediction]), n_best=5).data
    assert not set("<>&\u2028\u2029") & set(data)
    (question,), (context,) = read([prediction])
    assert (question["id"], question["question"], context) == (HOSTILE, HOSTILE, f"{HOSTILE} Ada")


def test_the_first_questions_are_kept() -> None:
    found = page_data(table(), n_best=5, most=2)
    assert found.shown == 2
    assert [row[0] for row in json.loads(found.data)["questions"]] == ["q0", "q1"]
    assert page_data(table(), n_best=5, most=100).shown == 6
    nothing = page_data(table([]), n_best=5)
    assert nothing.shown == 0
    assert json.loads(nothing.data)["fields"] == list(FIELDS)


@pytest.mark.parametrize("letter", ["a", "界", "🎉", "<"])
def test_no_more_than_the_budget_is_taken_and_the_most_that_it_holds(letter: str) -> None:
    predictions = [answered(row, ["Ada"], "Ada", context=f"Ada {row} {letter * 500}") for row in range(20)]
    found = page_data(table(predictions), n_best=5, budget=9_000)
    frame = len(page_data(table([]), n_best=5).data.encode())
    assert 0 < found.shown < 20
    assert len(found.data.encode()) <= 9_000 + frame
    one_more = page_data(table(predictions), n_best=5, most=found.shown + 1)
    assert len(one_more.data.encode()) > 9_000
