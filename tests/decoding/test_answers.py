import json
import math
from dataclasses import asdict, replace
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_lightning.decoding.answers import AnswerCollector, to_answer_rows, window_answers
from qa_lightning.records import Answer, Answers, Prediction, Question
from tests.decoding.slowly import Window, answer_slowly

INF = float("inf")
CONTEXT = "Oslo lies at a fjord.  Bergen lies further west."
OSLO, FJORD, BERGEN, WEST = (0, 4), (15, 20), (23, 29), (43, 47)


def question(row: int = 0, windows: int = 1) -> Question:
    return Question(row, f"q{row}", "Where?", CONTEXT, ("Oslo",), windows)


def window(spans: dict[tuple[int, int], tuple[float, float]], null: tuple[float, float] = (0, 0)) -> Window:
    return Window([(*place, *logits) for place, logits in spans.items()], null)


def add(collector: AnswerCollector, rows: list[tuple[Question, Window]], n: int = 20) -> list[Prediction]:
    """Give a collector one batch, whose windows have at most n spans."""
    padding = (-1, -1, -INF, -INF)
    spans = [[*window.spans, *[padding] * (n - len(window.spans))] for _, window in rows]
    starts, ends, start_logits, end_logits = torch.tensor(spans, dtype=torch.float64).unbind(-1)
    nulls = torch.tensor([window.null for _, window in rows], dtype=torch.float32).unbind(-1)
    questions = [question for question, _ in rows]
    windows = window_answers(starts.long(), ends.long(), start_logits.float(), end_logits.float(), *nulls)
    return collector.add(questions, to_answer_rows(windows))


def answer(*windows: Window, n: int = 20, null: bool = True, threshold: float = 0.0) -> Prediction:
    """What some windows, of which those with more than n spans are taken apart, say together."""
    parts = [
        Window(window.spans[first : first + n], window.null)
        for window in windows
        for first in range(0, len(window.spans) or 1, n)
    ]
    asked = question(windows=len(parts))
    (prediction,) = add(AnswerCollector(null, threshold), [(asked, part) for part in parts], n)
    return prediction


def test_two_windows_by_hand() -> None:
    first = window({OSLO: (3, 2), BERGEN: (1, 1)}, null=(4, 4))
    second = window({BERGEN: (2, 0.5), WEST: (0, 1)}, null=(1, 1.5))
    prediction = answer(first, second)
    # Null is 2.5, the minimum; with the maximum, 8, it would have been predicted. Bergen's 2.5 is the higher one.
    total = math.exp(5) + 2 * math.exp(2.5) + math.exp(1)
    assert list(prediction.answers) == [
        Answer("Oslo", 0, 4, 3, 2, pytest.approx(math.exp(5) / total)),
        Answer("Bergen", 23, 29, 2, 0.5, pytest.approx(math.exp(2.5) / total)),
        Answer("", 0, 0, 1, 1.5, pytest.approx(math.exp(2.5) / total)),
        Answer("west", 43, 47, 0, 1, pytest.approx(math.exp(1) / total)),
    ]
    assert prediction.text == "Oslo"
    assert prediction.null_odds == -2.5
    assert prediction.question == question(windows=2)


def test_null_is_predicted_only_above_the_threshold() -> None:
    at_the_threshold = window({OSLO: (1, 1)}, null=(2, 1.5))
    assert answer(at_the_threshold, threshold=1.5).text == "Oslo"
    assert answer(at_the_threshold, threshold=1.5).null_odds == 1.5
    assert answer(at_the_threshold, threshold=1.25).text == ""
    assert answer(at_the_threshold, threshold=-1.0).text == ""
    # The threshold rules the text, not the ranking.
    assert [a.text for a in answer(at_the_threshold, threshold=9.0).answers] == ["", "Oslo"]


def test_without_null() -> None:
    prediction = answer(window({OSLO: (1, 1), WEST: (0, 3)}, null=(9, 9)), null=False, threshold=-9)
    assert [a.text for a in prediction.answers] == ["west", "Oslo"]
    assert prediction.text == "west"
    assert prediction.null_odds is None
    assert sum(a.probability for a in prediction.answers) == pytest.approx(1)


@pytest.mark.parametrize(
    ("null", "n", "texts"),
    [
        (3, 3, ["Oslo", "", "fjord"]),  # among the best: it takes one of their places
        (1.5, 3, ["Oslo", "fjord", ""]),  # the last of the best
        (0.5, 3, ["Oslo", "fjord", "Bergen", ""]),  # not among them: appended
        (-9, 9, ["Oslo", "fjord", "Bergen", "west", ""]),
        (9, 1, ["", "Oslo"]),  # the best other answer is never lost
        (1.5, 1, ["Oslo", ""]),
        (1, 3, ["Oslo", "fjord", "Bergen", ""]),  # at the same score an answer comes before null
    ],
)
def test_null_is_always_among_the_answers(null: float, n: int, texts: list[str]) -> None:
    spans = {WEST: (0, 0), OSLO: (4, 0), BERGEN: (1, 0), FJORD: (2, 0)}
    prediction = answer(window(spans, null=(null, 0)), n=n)
    assert [a.text for a in prediction.answers] == texts
    assert prediction.null_odds == null - 4
    assert sum(a.probability for a in prediction.answers) == pytest.approx(1)


def test_the_best_are_kept_over_all_windows() -> None:
    first = window({OSLO: (1, 0), FJORD: (2, 0)})
    second = window({BERGEN: (4, 0), WEST: (3, 0)})
    assert [a.text for a in answer(first, second, n=2, null=False).answers] == ["Bergen", "west"]


def test_equal_scores_are_ordered_by_place() -> None:
    tied = {WEST: (2, 1), (0, 9): (1, 2), OSLO: (0, 3), BERGEN: (1.5, 1.5)}
    assert [(a.start, a.end) for a in answer(window(tied), null=False).answers] == [
        OSLO,
        (0, 9),
        BERGEN,
        WEST,
    ]


def test_padding_and_spans_without_a_character_are_no_answers() -> None:
    spans = {(-1, -1): (-INF, -INF), OSLO: (1, 1), (5, 5): (8, 8), WEST: (math.nan, 1)}
    assert [a.text for a in answer(window(spans), null=False).answers] == ["Oslo"]


def test_nothing_found() -> None:
    nothing = window({(-1, -1): (-INF, -INF)}, null=(-3, -3))
    prediction = answer(nothing, threshold=1e6)
    assert prediction.text == ""
    assert list(prediction.answers) == [Answer("", 0, 0, -3, -3, 1.0)]
    assert prediction.null_odds == torch.finfo(torch.float32).max
    assert answer(nothing, null=False) == Prediction(question(), "", Answers.of(CONTEXT, []), None)


def test_probabilities_of_huge_scores() -> None:
    prediction = answer(window({OSLO: (1e30, 1e30), WEST: (-1e30, 0)}, null=(0, 0)))
    assert [a.probability for a in prediction.answers] == [1.0, 0.0, 0.0]


def test_of_the_same_score_at_one_place_the_lower_start_logit_counts_in_any_order_of_windows() -> None:
    first, second = window({OSLO: (1, 2)}), window({OSLO: (2, 1)})
    for windows in ((first, second), (second, first)):
        assert [(a.start_logit, a.end_logit) for a in answer(*windows, null=False).answers] == [(1, 2)]


def test_scores_that_are_alike_in_float32_only_are_told_apart() -> None:
    # best_spans, which adds in float32, takes the two for alike, and gives the earlier one first.
    tied = window({OSLO: (1.0, 2.0**-26), WEST: (1.0, 2.0**-25)})
    assert torch.tensor(1.0) + 2.0**-25 == 1.0
    assert [a.text for a in answer(tied, null=False).answers] == ["west", "Oslo"]


def test_a_span_that_two_tokens_make_in_one_window_is_one_answer() -> None:
    twice = Window([(*OSLO, 3.0, 0.0), (*WEST, 2.0, 0.0), (*OSLO, 1.0, 0.0)], (0.0, 0.0))
    assert [(a.text, a.score) for a in answer(twice, null=False).answers] == [("Oslo", 3), ("west", 2)]


places = st.sampled_from([OSLO, FJORD, BERGEN, WEST, (0, 9), (21, 29), (9, 5), (5, 5), (-1, -1)])
few = st.sampled_from([-2.0, -1.0, -0.0, 0.0, 0.5, 1.0])
finite = few | st.floats(width=32, allow_nan=False, allow_infinity=False)
span_logits = finite | st.sampled_from([math.nan, INF, -INF])
spans = st.tuples(places, span_logits, span_logits).map(lambda drawn: (*drawn[0], *drawn[1:]))
contexts = st.sampled_from([CONTEXT, "\u3000\u00a0x" * 30, "\ud800 🎉" * 20])


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, list[tuple[Question, Window]]]:
    """A number of answers, and the windows of some questions in any order; some spans are ranked, as usual."""
    n = draw(st.integers(1, 6))
    rows = []
    for row in range(draw(st.integers(1, 5))):
        windows = draw(st.lists(st.builds(Window, st.lists(spans, max_size=n), st.tuples(finite, finite)), min_size=1))
        if draw(st.booleans()):
            for decoded in windows:
                decoded.spans.sort(
                    key=lambda span: (not math.isfinite(span[2] + span[3]), -(span[2] + span[3]), span[:2])
                )
        asked = replace(question(row, len(windows)), context=draw(contexts))
        rows += [(asked, decoded) for decoded in windows]
    return n, draw(st.permutations(rows))


@settings(deadline=None, max_examples=300)
@given(cases(), st.integers(1, 8), st.booleans(), st.sampled_from([-1.0, 0.0, 0.5]))
def test_equals_the_rules_written_slowly(case: tuple, size: int, null: bool, threshold: float) -> None:
    n, rows = case
    collector = AnswerCollector(null, threshold)
    predictions = [
        (first + size, prediction)
        for first in range(0, len(rows), size)
        for prediction in add(collector, rows[first : first + size], n)
    ]
    assert sorted(prediction.question.row for _, prediction in predictions) == sorted({asked.row for asked, _ in rows})
    for seen, prediction in predictions:
        own = [i for i, (asked, _) in enumerate(rows) if asked is prediction.question]
        assert seen - size <= own[-1] < seen
        expected = answer_slowly(
            prediction.question, [rows[i][1] for i in own], n_best_size=n, null_allowed=null, threshold=threshold
        )
        assert (prediction.text, prediction.null_odds) == (expected.text, expected.null_odds)
        assert [replace(candidate, probability=0) for candidate in prediction.answers] == [
            replace(candidate, probability=0) for candidate in expected.answers
        ]
        assert [candidate.probability for candidate in prediction.answers] == pytest.approx(
            [candidate.probability for candidate in expected.answers], rel=1e-12, abs=1e-300
        )


def test_a_question_is_answered_when_its_last_window_was_seen() -> None:
    short, long = question(row=7), question(row=8, windows=2)
    oslo, west = window({OSLO: (1.0, 1.0)}, (0.0, 0.0)), window({WEST: (2.0, 2.0)}, (0.0, 5.0))
    collector = AnswerCollector(null_allowed=True, null_score_diff_threshold=0.0)
    assert add(collector, [(long, oslo)]) == []
    (single,) = add(collector, [(short, west)])
    assert (single.question, single.text, single.null_odds) == (short, "", 1.0)
    (double,) = add(collector, [(long, west)])
    assert (double.question, double.text, double.null_odds) == (long, "west", -4.0)
    assert double.answers == answer(oslo, west).answers


def test_any_order_of_batches_gives_the_same_predictions() -> None:
    random = Random(0)
    rows = []
    for row in range(12):
        count = random.randint(1, 4)
        for _ in range(count):
            spans = {place: (random.random(), random.random()) for place in (OSLO, BERGEN, WEST)}
            null = (random.random(), random.random())
            rows.append((question(row, count), window(spans, null)))

    def collect(rows: list, size: int) -> list[Prediction]:
        collector = AnswerCollector(null_allowed=True, null_score_diff_threshold=0.0)
        batches = (rows[start : start + size] for start in range(0, len(rows), size))
        predictions = [prediction for batch in batches for prediction in add(collector, batch)]
        return sorted(predictions, key=lambda prediction: prediction.question.row)

    expected = collect(rows, size=1)
    assert [prediction.question.row for prediction in expected] == list(range(12))
    assert {prediction.text for prediction in expected} > {""}
    for size in (2, 5, 100):
        assert collect(random.sample(rows, len(rows)), size) == expected


@pytest.mark.parametrize("null", [math.nan, -INF, INF])
def test_numbers_stay_finite_and_fit_into_json(null: float) -> None:
    collector = AnswerCollector(null_allowed=True, null_score_diff_threshold=0.0)
    (prediction,) = add(collector, [(question(), window({OSLO: (1.0, 1.0)}, (null, null)))])
    assert prediction.text == ("" if null == INF else "Oslo")
    json.dumps([[asdict(candidate) for candidate in prediction.answers], prediction.null_odds], allow_nan=False)
