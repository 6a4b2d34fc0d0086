"""Probabilities at temperatures: by hand, and that neither answers nor ranks depend on them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qa_lightning.decoding.answers import answer_questions
from qa_lightning.decoding.temperatures import Temperatures, answer_probabilities, null_log_odds
from qa_lightning.reader.distinct_answers import append_answers
from qa_lightning.reader.formatting import format_answers
from qa_lightning.records import ANSWER, Prediction, Question
from qa_lightning.utils.errors import UserError
from tests.data.tokenizers import word_level
from tests.reader.stand_ins import make_reader

CONTEXT = "Oslo lies at a fjord. Bergen lies further west."
POSITIVE = st.floats(0.01, 100)
TEMPERATURES = st.builds(Temperatures, POSITIVE, POSITIVE, st.floats(-20, 20))
LOGITS = st.floats(-30, 30, width=32)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_by_hand() -> None:
    scores, is_null = np.array([[6.0, 4.0, 2.0, -np.inf]]), np.array([[False, True, False, False]])
    found = answer_probabilities(scores, is_null, Temperatures(2.0, 4.0, -1.0))
    null = sigmoid((4 - math.log(math.exp(6) + math.exp(2)) + 1) / 4)
    best = (1 - null) * math.exp(3) / (math.exp(3) + math.exp(1))
    assert found[0].tolist() == pytest.approx([best, null, 1 - null - best, 0])


def test_without_null_the_scores_are_divided() -> None:
    scores, is_null = np.array([[3.0, 1.0], [2.0, -np.inf]]), np.zeros((2, 2), dtype=bool)
    found = answer_probabilities(scores, is_null, Temperatures(0.5, 7.0, 3.0))
    assert found.tolist() == [pytest.approx([sigmoid(4), sigmoid(-4)]), [1.0, 0.0]]


def test_a_question_with_null_only_or_with_nothing() -> None:
    scores = np.array([[-np.inf, 2.0], [-np.inf, -np.inf]])
    is_null = np.array([[False, True], [False, False]])
    assert answer_probabilities(scores, is_null, Temperatures(2.0, 3.0, 1.0)).tolist() == [[0, 1], [0, 0]]


def test_temperatures_are_above_zero() -> None:
    for wrong in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(UserError, match="temperature must be above 0, not"):
            Temperatures(wrong)
        with pytest.raises(UserError, match="null_temperature must be above 0, not"):
            Temperatures(null_temperature=wrong)


@st.composite
def windows(draw: st.DrawFn) -> np.ndarray:
    """The best spans of the only window of some questions, best first, and null."""
    questions, count = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    rows = np.zeros((questions, count + 1), dtype=ANSWER)
    for row in rows:
        logits = draw(st.lists(st.tuples(LOGITS, LOGITS), min_size=count + 1, max_size=count + 1))
        logits = [*sorted(logits[:-1], key=lambda pair: -float(pair[0]) - float(pair[1])), logits[-1]]
        row["start_logit"], row["end_logit"] = np.array(logits, dtype=np.float32).T
        row["start"][:-1], row["end"][:-1] = np.arange(count), np.arange(count) + 3
    return rows


def predict(rows: np.ndarray, null_allowed: bool, threshold: float, *temperatures: Temperatures) -> list[Prediction]:
    questions = [Question(row, f"q{row}", "Where?", CONTEXT, None, 1) for row in range(len(rows))]
    return answer_questions(
        questions,
        rows,
        np.arange(len(rows)),
        null_allowed=null_allowed,
        null_score_diff_threshold=threshold,
        **({"temperatures": temperatures[0]} if temperatures else {}),
    )


# The score of null is the highest, but by these temperatures it has no probability at all.
@example(np.array([[(0, 3, 0, -13, 0), (0, 0, 0, -12, 0)]], dtype=ANSWER), True, 0.0, Temperatures(1.0, 0.01, 9.0))
@given(windows(), st.booleans(), st.floats(-5, 5), TEMPERATURES)
def test_answers_and_ranks_never_change(
    rows: np.ndarray, null_allowed: bool, threshold: float, temperatures: Temperatures
) -> None:
    before = predict(rows, null_allowed, threshold)
    after = predict(rows, null_allowed, threshold, temperatures)
    shown = ["start", "end", "start_logit", "end_logit"]
    for own, calibrated in zip(before, after, strict=True):
        assert (own.text, own.null_odds) == (calibrated.text, calibrated.null_odds)
        assert own.answers.rows[shown].tolist() == calibrated.answers.rows[shown].tolist()
        assert calibrated.answers.rows["probability"].sum() == pytest.approx(1)
        spans = calibrated.answers.rows["probability"][calibrated.answers.rows["end"] > 0]
        assert (np.diff(spans) <= 1e-12).all()
        listed = [
            [{**answer, "score": None} for answer in format_answers(each, 10, rows.shape[1] - 1)]
            for each in (own, calibrated)
        ]
        assert listed[0] == listed[1]
        assert all(0 <= answer["score"] <= 1 + 1e-9 for answer in format_answers(calibrated, 10, rows.shape[1] - 1))


@given(windows(), TEMPERATURES, st.floats(-50, 50))
def test_what_is_added_to_all_scores_changes_nothing(
    rows: np.ndarray, temperatures: Temperatures, shift: float
) -> None:
    scores = rows["start_logit"].astype(np.float64) + rows["end_logit"]
    is_null = rows["end"] == 0
    before, after = (answer_probabilities(some, is_null, temperatures) for some in (scores, scores + shift))
    np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-9)


@given(windows(), TEMPERATURES)
def test_questions_keep_their_order_by_null(rows: np.ndarray, temperatures: Temperatures) -> None:
    scores = rows["start_logit"].astype(np.float64) + rows["end_logit"]
    is_null = rows["end"] == 0
    own, calibrated = (answer_probabilities(scores, is_null, *some)[:, -1] for some in ((), (temperatures,)))
    # By their logarithms, since of two probabilities of nearly 1 the larger one cannot be told.
    order = np.argsort(null_log_odds(scores[:, -1], scores[:, :-1]), kind="stable")
    for probabilities in (own, calibrated):
        assert (np.diff(probabilities[order]) >= -1e-9).all()


@given(windows(), st.booleans(), POSITIVE)
def test_the_plain_softmax_is_what_one_and_no_bias_give(
    rows: np.ndarray, null_allowed: bool, temperature: float
) -> None:
    # A temperature near 1 takes the other way through the code, and cannot differ by much.
    nearly = Temperatures(1 + 1e-12, 1.0, 0.0)
    for own, other in zip(predict(rows, null_allowed, 0), predict(rows, null_allowed, 0, nearly), strict=True):
        np.testing.assert_allclose(
            other.answers.rows["probability"], own.answers.rows["probability"], rtol=1e-6, atol=1e-12
        )


def test_answers_that_are_appended_are_on_the_same_scale() -> None:
    rows = np.zeros((1, 5), dtype=ANSWER)
    rows["start_logit"], rows["end"] = [[5.0, 4.0, 2.0, -np.inf, 9.0]], [[4, 5, 6, 0, 0]]
    temperatures = Temperatures(2.0, 3.0, 1.0)
    (whole,) = predict(rows, True, 0, temperatures)
    assert [answer.end for answer in whole.answers] == [0, 4, 5, 6]
    kept = Prediction(whole.question, whole.text, whole.answers[:3], whole.null_odds)
    longer = append_answers(kept, rows[0, 2:3].copy(), temperatures)
    assert longer.answers.rows["probability"].tolist() == pytest.approx(whole.answers.rows["probability"].tolist())


WORDS = "who where sang wrote Mara Ivo Oslo Lund in and . , ?".split()
TOKENIZER = word_level(WORDS)
SONG = "Mara sang in Oslo and Ivo wrote in Lund . Mara wrote , Ivo sang ."


@settings(deadline=None)
@example({"sang": (3.0, -1.1920928955078125e-07)}, Temperatures(), False, 1)
@given(
    st.dictionaries(st.sampled_from([*WORDS[2:], TOKENIZER.cls_token]), st.tuples(LOGITS, LOGITS), max_size=8),
    TEMPERATURES,
    st.booleans(),
    st.integers(1, 5),
)
def test_a_reader_lists_the_same_answers_in_the_same_order(
    logits: dict[str, tuple[float, float]], temperatures: Temperatures, null_allowed: bool, n_best_size: int
) -> None:
    reader = make_reader(
        TOKENIZER,
        logits,
        handle_impossible_answer=null_allowed,
        n_best_size=n_best_size,
        max_answer_len=3,
        top_k=9,
    )
    asked = {"question": "who sang ?", "context": SONG}
    before, after = reader(**asked), reader(**asked, **vars(temperatures))
    assert [{**answer, "score": None} for answer in before] == [{**answer, "score": None} for answer in after]
    assert all(0 <= answer["score"] <= 1 + 1e-9 for answer in after)
