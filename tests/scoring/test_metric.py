import json
import pickle
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_lightning.records import Answer, Answers, Prediction, Question
from qa_lightning.scoring.metric import ExtractiveQA
from qa_lightning.scoring.rules import scorer
from qa_lightning.scoring.squad import evaluate, score_question
from qa_lightning.scoring.thresholds import best_threshold

BEST = {"best_exact", "best_exact_thresh", "best_f1", "best_f1_thresh"}


def predict(
    row: int,
    golds: tuple[str, ...] | None,
    span: str,
    null_odds: float | None = None,
    threshold: float = 0.0,
) -> Prediction:
    """A prediction as decoding makes it: `span` is the best answer, null where its odds exceed the threshold."""
    question = Question(row, f"q{row}", "?", span, golds, windows=1)
    answers = [Answer(span, 0, len(span), 1.0, 2.0, 0.5)] if span else []
    if null_odds is None:
        return Prediction(question, span, Answers.of(span, answers), None)
    place = 0 if null_odds > 0 else len(answers)
    answers.insert(place, Answer("", 0, 0, null_odds, 3.0, 0.5))
    return Prediction(question, "" if null_odds > threshold else span, Answers.of(span, answers), null_odds)


def score(*batches: list[Prediction]) -> dict[str, float]:
    metric = ExtractiveQA()
    for batch in batches:
        metric.update(batch)
    return metric.compute()


def test_answerable_questions_only() -> None:
    figures = score([predict(0, ("red car",), "car"), predict(1, ("x",), "the x")])
    assert figures == {"exact_match": 50, "f1": pytest.approx(100 * (2 / 3 + 1) / 2), "total": 2}
    assert all(type(value) is float for value in figures.values())


def test_unanswerable_questions() -> None:
    batch = [
        predict(0, ("red car",), "car", null_odds=-2.0),
        predict(1, ("x",), "x", null_odds=1.0),  # null, and wrong
        predict(2, (), "y", null_odds=5.0),  # null, and right
        predict(3, (), "z", null_odds=-1.0),
    ]
    assert score(batch) == {
        "exact_match": 25,
        "f1": pytest.approx(100 * (2 / 3 + 1) / 4),
        "total": 4,
        "HasAns_exact": 0,
        "HasAns_f1": pytest.approx(100 / 3),
        "HasAns_total": 2,
        "NoAns_exact": 50,
        "NoAns_f1": 50,
        "NoAns_total": 2,
        "best_exact": 50,
        "best_exact_thresh": -3,  # answer nothing; just as good: q0 only, or all but q2
        "best_f1": pytest.approx(100 * (2 / 3 + 1 + 1) / 4),
        "best_f1_thresh": -1.5,  # answer q0 only; just as good: all but q2
    }


def test_tuning_uses_the_best_text_behind_a_null() -> None:
    # At the threshold 0 both are null; at 4 both are right.
    figures = score([predict(0, ("x",), "x", null_odds=3.0), predict(1, (), "y", null_odds=6.0)])
    assert figures["f1"] == 50
    assert (figures["best_f1"], figures["best_f1_thresh"]) == (100, 4)


def test_tuning_by_a_rule_where_no_answer_scores_another_f1_than_em() -> None:
    """In MLQA's rule, a gold that normalises to nothing gives the empty text EM 1 and F1 0."""
    metric = ExtractiveQA(scorer("vi"))
    metric.update([predict(0, ("của",), "của x", null_odds=1.0), predict(1, (), "y", null_odds=2.0)])
    figures = metric.compute()
    assert figures["best_exact"] == 100
    assert figures["best_f1"] == 50


def test_no_tuning_without_null_odds() -> None:
    figures = score([predict(0, ("x",), "x"), predict(1, (), "y")])
    assert "NoAns_f1" in figures
    assert not BEST & set(figures)


def test_questions_without_golds_are_not_scored() -> None:
    assert score([predict(0, None, "x"), predict(1, ("y",), "y")])["total"] == 1


def test_nothing_to_score() -> None:
    assert score() == {}  # no update at all: not even a warning, which would be an error here
    assert score([]) == {}
    assert score([predict(0, None, "x")]) == {}


def test_no_question_counts_twice() -> None:
    first, second = predict(0, ("x",), "x"), predict(1, ("x",), "y")
    assert score([first, second], [first], [first, first]) == score([first, second])


predictions = st.lists(
    st.tuples(
        st.sampled_from([(), ("a b c",), ("b", "a d"), ("the",)]),
        st.sampled_from(["a", "b c", "d d b", "the", ""]),
        st.sampled_from([-1.5, 0.0, 0.1, 0.3, 2.0, 1e3]),
    ),
    min_size=1,
    max_size=20,
)


@settings(deadline=None)
@given(predictions, st.randoms(use_true_random=False), st.integers(1, 5))
def test_batches_in_any_order_equal_the_pure_functions(drawn: list, random: Random, size: int) -> None:
    all_of_them = [predict(row, *each, threshold=0.1) for row, each in enumerate(drawn)]
    shuffled = random.sample(all_of_them, len(all_of_them))
    figures = score(*(shuffled[start : start + size] for start in range(0, len(shuffled), size)))

    expected = evaluate(
        {p.question.id: p.question.golds or () for p in all_of_them},
        {p.question.id: p.text for p in all_of_them},
    )
    expected["exact_match"] = expected.pop("exact")
    if "NoAns_total" not in expected:
        assert figures == {key: expected[key] for key in ("exact_match", "f1", "total")}
        return
    golds = [each[0] for each in drawn]
    odds = np.array([each[2] for each in drawn])
    null = np.array([score_question("", gold)[0] for gold in golds])
    for index, name in enumerate(("exact", "f1")):
        spans = np.array([score_question(each[1], each[0])[index] for each in drawn])
        expected[f"best_{name}"], expected[f"best_{name}_thresh"] = best_threshold(spans, null, odds)
    assert figures == expected
    assert figures["best_f1"] >= figures["f1"] - 1e-12
    assert figures["best_exact"] >= figures["exact_match"]


def test_official_figures(shared: Path) -> None:
    data = json.loads((shared / "data/xquad.en.v2.dev.json").read_text())["data"]
    texts = json.loads((shared / "golden/xquad.en.v2.dev.predictions.json").read_text())
    official = json.loads((shared / "golden/xquad.en.v2.dev.official.json").read_text())
    golds = {
        qa["id"]: tuple(answer["text"] for answer in qa["answers"])
        for article in data
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    }
    figures = score([predict(row, golds[key], texts[key]) for row, key in enumerate(golds)])
    figures["exact"] = figures.pop("exact_match")
    assert figures == pytest.approx({key: official[key] for key in figures}, rel=0, abs=1e-9)
    assert set(official) - set(figures) == BEST


# 1/3, 2/3 and these odds are not exact in any smaller type.
PRECISE = [
    predict(0, ("a b c d e",), "a", null_odds=1e-9),
    predict(1, ("red car",), "car", null_odds=2e-9),
    predict(2, (), "y", null_odds=3e-9),
]


@pytest.mark.parametrize(
    "convert",
    [
        torch.nn.Module.half,
        torch.nn.Module.bfloat16,
        lambda module: module.to(torch.bfloat16),
        lambda module: module.to("cpu", torch.float16),
        lambda module: pickle.loads(pickle.dumps(module)),
    ],
    ids=["half", "bfloat16", "to_bfloat16", "to_float16", "pickle"],
)
def test_no_digit_is_lost_with_the_module_around_it(convert) -> None:
    module = torch.nn.Module()
    module.metric = ExtractiveQA()
    module = convert(module)
    module.metric.update(PRECISE[:2])
    module = convert(module)
    module.metric.update(PRECISE[2:])
    assert module.metric.compute() == score(PRECISE)
    assert module.metric.compute()["best_f1_thresh"] == pytest.approx(2.5e-9)


def test_reset_forgets() -> None:
    metric = ExtractiveQA()
    metric.update([predict(0, ("x",), "y")])
    assert metric.compute()["f1"] == 0
    metric.reset()
    assert metric.compute() == {}
    metric.update([predict(0, ("x",), "x")])
    assert metric.compute()["f1"] == 100


def test_compute_does_not_end_the_accumulation() -> None:
    metric = ExtractiveQA()
    metric.update(PRECISE[:2])
    metric.compute()
    metric.update(PRECISE[2:])
    assert metric.compute() == score(PRECISE)


def _some_predictions(count: int) -> list[Prediction]:
    random = Random(0)
    golds = [(), ("a b c",), ("b", "a d")]
    spans = ["a", "b c", "d d b"]
    return [predict(row, random.choice(golds), random.choice(spans), random.uniform(-3, 3)) for row in range(count)]


def _score_shares(rank: int, shares: list[list[list[int]]], folder: Path) -> None:
    torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    known = _some_predictions(23)
    figures = []
    for share in shares:
        metric = ExtractiveQA()
        for row in share[rank]:
            metric.update([known[row]])
        figures.append(metric.compute())
    (folder / f"{rank}.json").write_text(json.dumps(figures))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    everything = list(range(23))
    shares = [
        [everything[0::2], everything[1::2]],  # 12 and 11, interleaved
        [everything[20:], everything[:20]],  # 3 and 20, in the wrong order
        [[*everything[:12], 0], everything[11:]],  # some seen twice
        [[], everything],
        [everything, []],
        [[], []],
    ]
    torch.multiprocessing.spawn(_score_shares, (shares, tmp_path), nprocs=2)
    alone = score(_some_predictions(23))
    assert set(alone) > BEST
    for rank in (0, 1):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == [alone] * 5 + [{}]
