"""Predictions as plain answers."""

from __future__ import annotations

import pytest

from qa_lightning.reader.formatting import format_answers
from qa_lightning.records import Answer, Answers, Prediction, Question

CONTEXT = "Mara sang. mara sang. Ivo"
ROWS = [((0, 4), 0.4), ((0, 0), 0.3), ((11, 15), 0.2), ((22, 25), 0.1)]


def prediction(text: str, rows: list[tuple[tuple[int, int], float]], null_odds: float | None = 0.0) -> Prediction:
    answers = [Answer(CONTEXT[a:b], a, b, 0.0, 0.0, share) for (a, b), share in rows]
    return Prediction(Question(0, "q", "?", CONTEXT, None, 1), text, Answers.of(CONTEXT, answers), null_odds)


def texts(*arguments: object) -> list[str]:
    return [answer["answer"] for answer in format_answers(*arguments)]  # type: ignore[arg-type]


def test_the_predicted_answer_comes_first() -> None:
    assert texts(prediction("Mara", ROWS), 4, 20) == ["Mara", "", "Ivo"]
    assert texts(prediction("", ROWS), 4, 20) == ["", "Mara", "Ivo"]
    assert texts(prediction("Mara", ROWS[1:2] + ROWS[:1]), 1, 20) == ["Mara"]


def test_of_equal_texts_the_best_place_is_returned() -> None:
    assert format_answers(prediction("Mara", ROWS), 4, 20)[0] == {
        "score": pytest.approx(0.4),
        "start": 0,
        "end": 4,
        "answer": "Mara",
    }


def test_scores_are_shares_of_the_answers_that_are_kept_and_of_null() -> None:
    found = format_answers(prediction("Mara", ROWS), 4, 2)
    assert [answer["score"] for answer in found] == pytest.approx([0.4 / 0.7, 0.3 / 0.7, 0.1 / 0.7])
    last = [(ROWS[2][0], 0.5), (ROWS[3][0], 0.3), (ROWS[1][0], 0.2)]
    found = format_answers(prediction("mara", last), 3, 1)
    assert [answer["score"] for answer in found] == pytest.approx([0.5 / 0.7, 0.3 / 0.7, 0.2 / 0.7])


def test_nothing_found() -> None:
    assert format_answers(prediction("", [], None), 3, 20) == []
