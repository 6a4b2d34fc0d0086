import json
import math
from dataclasses import asdict
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_lightning.decoding.answers import AnswerCollector, Window, answer_question
from qa_lightning.records import Answer, Prediction, Question

INF = float("inf")
CONTEXT = "Oslo lies at a fjord.  Bergen lies further west."
OSLO, FJORD, BERGEN, WEST, BLANKS = (0, 4), (15, 20), (23, 29), (43, 47), (21, 23)


def question(row: int = 0, windows: int = 1) -> Question:
    return Question(row, f"q{row}", "Where?", CONTEXT, ("Oslo",), windows)


def window(spans: dict[tuple[int, int], tuple[float, float]], null: tuple[float, float] = (0, 0)) -> Window:
    places, logits = list(spans), list(spans.values())
    return Window(
        [start for start, _ in places],
        [end for _, end in places],
        [start for start, _ in logits],
        [end for _, end in logits],
        *null,
    )


def answer(*windows: Window, n: int = 20, null: bool = True, threshold: float = 0.0) -> Prediction:
    return answer_question(
        question(windows=len(windows)),
        windows,
        n_best_size=n,
        null_allowed=null,
        null_score_diff_threshold=threshold,
    )


def test_two_windows_by_hand() -> None:
    first = window({OSLO: (3, 2), BERGEN: (1, 1)}, null=(4, 4))
    second = window({BERGEN: (2, 0.5), WEST: (0, 1)}, null=(1, 1.5))
    prediction = answer(first, second)
    # Null is 2.5, the minimum; with the maximum, 8, it would have been predicted. Bergen's 2.5 is the higher one.
    total = math.exp(5) + 2 * math.exp(2.5) + math.exp(1)
    assert prediction.answers == (
        Answer("Oslo", 0, 4, 3, 2, pytest.approx(math.exp(5) / total)),
        Answer("Bergen", 23, 29, 2, 0.5, pytest.approx(math.exp(2.5) / total)),
        Answer("", 0, 0, 1, 1.5, pytest.approx(math.exp(2.5) / total)),
        Answer("west", 43, 47, 0, 1, pytest.approx(math.exp(1) / total)),
    )
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


def test_padding_and_blanks_are_no_answers() -> None:
    spans = {BLANKS: (9, 9), (-1, -1): (-INF, -INF), OSLO: (1, 1), (5, 5): (8, 8), WEST: (math.nan, 1)}
    assert [a.text for a in answer(window(spans), null=False).answers] == ["Oslo"]


def test_nothing_found() -> None:
    nothing = window({(-1, -1): (-INF, -INF)}, null=(-3, -3))
    prediction = answer(nothing, threshold=1e6)
    assert prediction.text == ""
    assert prediction.answers == (Answer("", 0, 0, -3, -3, 1.0),)
    assert prediction.null_odds == torch.finfo(torch.float32).max
    assert answer(nothing, null=False) == Prediction(question(), "", (), None)


def test_probabilities_of_huge_scores() -> None:
    prediction = answer(window({OSLO: (1e30, 1e30), WEST: (-1e30, 0)}, null=(0, 0)))
    assert [a.probability for a in prediction.answers] == [1.0, 0.0, 0.0]


places = st.sampled_from([OSLO, FJORD, BERGEN, WEST, BLANKS, (0, 9), (-1, -1)])
logits = st.tuples(st.sampled_from([-2.0, 0.0, 0.5, 1.0]), st.sampled_from([-1.0, 0.0, 0.5, -INF]))
nulls = st.tuples(st.sampled_from([-2.0, 0.0, 0.5, 4.0]), st.sampled_from([-1.0, 0.0, 0.5]))
some_windows = st.lists(st.builds(window, st.dictionaries(places, logits), nulls), min_size=1, max_size=4)


@settings(deadline=None)
@given(some_windows, st.integers(1, 6), st.booleans(), st.sampled_from([-1.0, 0.0, 0.5]), st.randoms())
def test_equals_the_rules_told_slowly(windows: list, n: int, null: bool, threshold: float, random: Random) -> None:
    scores: dict[tuple[int, int], float] = {}
    for start, end in [OSLO, FJORD, BERGEN, WEST, (0, 9)]:
        for w in windows:
            for s, e, start_logit, end_logit in zip(*w[:4], strict=True):
                if (s, e) == (start, end) and start_logit + end_logit > -INF:
                    scores[s, e] = max(scores.get((s, e), -INF), start_logit + end_logit)
    ranked = [(score, CONTEXT[s:e]) for (s, e), score in scores.items()]
    ranked.sort(key=lambda item: (-item[0], CONTEXT.index(item[1]), len(item[1])))
    best = ranked[0] if ranked else (-INF, "")
    if null:
        null_score = min(w.null_start_logit + w.null_end_logit for w in windows)
        kept = sorted([*ranked, (null_score, "")], key=lambda item: -item[0])[:n]
        if (null_score, "") not in kept:
            kept.append((null_score, ""))
        elif n == 1 and ranked:
            kept.append(best)
    else:
        kept = ranked[:n]

    prediction = answer(*random.sample(windows, len(windows)), n=n, null=null, threshold=threshold)

    assert [(a.score, a.text) for a in prediction.answers] == kept
    assert prediction == answer(*windows, n=n, null=null, threshold=threshold)
    if null:
        assert prediction.text == ("" if null_score - best[0] > threshold else best[1])
        if ranked:
            assert prediction.null_odds == null_score - best[0]
    else:
        assert prediction.text == best[1]
    weights = [math.exp(score) for score, _ in kept]
    assert [a.probability for a in prediction.answers] == pytest.approx([w / sum(weights) for w in weights])


def add(collector: AnswerCollector, rows: list[tuple[Question, Window]]) -> list[Prediction]:
    """Give a collector one batch, made of windows with equally many spans."""
    columns = [torch.tensor(column) for column in zip(*(w for _, w in rows), strict=True)]
    return collector.add([q for q, _ in rows], *columns)


def test_a_question_is_answered_when_its_last_window_was_seen() -> None:
    one, two = question(row=7), question(row=8, windows=2)
    oslo, west = window({OSLO: (1.0, 1.0)}, (0.0, 0.0)), window({WEST: (2.0, 2.0)}, (0.0, 5.0))
    collector = AnswerCollector(n_best_size=20, null_allowed=True, null_score_diff_threshold=0.0)
    assert add(collector, [(two, oslo)]) == []
    (single,) = add(collector, [(one, west)])
    assert (single.question, single.text, single.null_odds) == (one, "", 1.0)
    (double,) = add(collector, [(two, west)])
    assert (double.question, double.text, double.null_odds) == (two, "west", -4.0)
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
        collector = AnswerCollector(n_best_size=3, null_allowed=True, null_score_diff_threshold=0.0)
        batches = (rows[start : start + size] for start in range(0, len(rows), size))
        predictions = [prediction for batch in batches for prediction in add(collector, batch)]
        return sorted(predictions, key=lambda prediction: prediction.question.row)

    expected = collect(rows, size=1)
    assert [prediction.question.row for prediction in expected] == list(range(12))
    assert {prediction.text for prediction in expected} > {""}
    for size in (2, 5, 100):
        assert collect(random.sample(rows, len(rows)), size) == expected


def test_reset_drops_unfinished_questions() -> None:
    collector = AnswerCollector(n_best_size=20, null_allowed=False, null_score_diff_threshold=0.0)
    half = (question(windows=2), window({OSLO: (1.0, 1.0)}, (0.0, 0.0)))
    assert add(collector, [half]) == []
    collector.reset()
    assert add(collector, [half]) == []
    assert [prediction.text for prediction in add(collector, [half])] == ["Oslo"]


@pytest.mark.parametrize("null", [math.nan, -INF, INF])
def test_numbers_stay_finite_and_fit_into_json(null: float) -> None:
    collector = AnswerCollector(n_best_size=20, null_allowed=True, null_score_diff_threshold=0.0)
    (prediction,) = add(collector, [(question(), window({OSLO: (1.0, 1.0)}, (null, null)))])
    assert prediction.text == ("" if null == INF else "Oslo")
    json.dumps([[asdict(one) for one in prediction.answers], prediction.null_odds], allow_nan=False)
