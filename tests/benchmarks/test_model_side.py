"""The benchmarks of training and evaluation: they give figures, and both sides of each do the same work."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import decode, evaluate, limit, models, overhead, timed, train
from benchmarks.harness import Row
from benchmarks.models import BERT_LARGE, DEBERTA, DISTILBERT, MINILM, MODERNBERT, ROBERTA, TINY, Shape
from qa_lightning.records import Answer
from tests.benchmarks.children import in_fork

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]

TINY_DISTILBERT = Shape(
    "a tiny DistilBERT", {"model_type": "distilbert", "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.write_model(TINY, tmp_path_factory.mktemp("tiny"))


def check(rows: list[Row], name: str, number: int) -> None:
    """Whether all rows are of the benchmark and have figures; what these are is not for a test to say."""
    assert len(rows) == number
    for row in rows:
        assert row.benchmark == name
        assert all(math.isfinite(value) for value in (row.figure, row.peer, row.ratio) if value is not None)


# Models


@pytest.mark.parametrize(
    ("shape", "millions"),
    [(DISTILBERT, 66), (MINILM, 22), (ROBERTA, 124), (BERT_LARGE, 334), (DEBERTA, 183), (MODERNBERT, 149)],
)
def test_shapes_have_the_sizes_that_they_are_named_for(tmp_path: Path, shape: Shape, millions: int) -> None:
    with torch.device("meta"):  # sizes without weights
        network = models.make_module(models.write_model(shape, tmp_path)).model
    assert sum(parameter.numel() for parameter in network.parameters()) // 1_000_000 == millions


def test_a_module_has_the_same_weights_each_time(folder: Path) -> None:
    first, second = (models.make_module(folder).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


# Training


def test_timed_steps_are_spread_over_an_epochs_lengths_in_its_order() -> None:
    lengths = np.array([7, 1, 5, 3, 8, 2, 6, 4])
    epoch = [np.array([row, row]) for row in range(8)]
    picked = train.spread(epoch, lengths, 4)
    assert [lengths[rows[0]] for rows in picked] == [8, 2, 6, 4]
    assert len(train.spread(epoch, lengths, 100)) == 8


def test_the_last_batch_of_an_epoch_is_not_timed_where_it_is_not_full() -> None:
    picked = train.spread([np.array([0]), np.array([1, 2])], np.array([3, 1, 2]), 2)
    assert [rows.tolist() for rows in picked] == [[1, 2]]


def test_warming_up_repeats_the_first_batches() -> None:
    batches = [np.array([row]) for row in range(2)]
    assert [rows[0] for rows in train.warmed(batches, 3)] == [0, 1, 0, 0, 1]


def test_windows_per_second_are_those_behind_the_warm_up() -> None:
    assert train.rate([1.0, 5.0, 6.0, 7.0], warm_up=2) == pytest.approx(2 * train.BATCH / 2.0)


@pytest.mark.parametrize("padded", [True, False])
def test_the_peers_features_are_our_windows(folder: Path, padded: bool) -> None:
    data = models.make_data(folder, 10, "train").splits["train"][0].dataset
    rows = np.arange(len(data))
    for row, feature in enumerate(timed.features(data, rows, 384 if padded else None)):
        batch = data[np.array([row])]
        length = batch.inputs["input_ids"].shape[1]
        for name, values in batch.inputs.items():
            assert feature[name][:length] == values[0].tolist()
            assert feature[name][length:] == [0] * (384 - length if padded else 0)
        assert feature["start_positions"] == batch.starts.item()
        assert feature["end_positions"] == batch.ends.item()


def test_a_grouped_epoch_holds_every_window_once_in_batches_of_like_length() -> None:
    lengths = np.arange(640) % 200
    epoch = train.grouped(lengths)
    assert sorted(np.concatenate(epoch)) == list(range(640))
    assert all(len(rows) == train.BATCH for rows in epoch)
    assert np.mean([np.ptp(lengths[rows]) for rows in epoch[1:]]) < 100


def test_ours_stands_beside_both_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def peer(_: Any, dataset: Any, batches: timed.Batches, __: Path, *, padded: bool, bf16: bool) -> list[float]:
        calls.append((padded, bf16, len(batches)))
        return [2.0 * step if padded else 1.0 * step for step in range(len(batches))]

    monkeypatch.setattr(train, "timed_trainer", peer)
    rows = train.measure(train.Plan((TINY,), 100, steps=3, padded_steps=2, warm_up=1))
    check(rows, "train", 3)
    assert calls == [(True, False, 3), (False, True, 4)]
    assert [row.peer for row in rows] == [train.BATCH / 2, train.BATCH / 2, train.BATCH / 1]
    assert rows[1].figure == rows[2].figure != rows[0].figure


def test_train_gives_figures() -> None:
    check(train.measure(train.Plan((TINY,), 100, steps=2, padded_steps=1, warm_up=1)), "train", 3)


# Overhead


def test_overhead_gives_figures() -> None:
    plan = overhead.Plan(TINY, 40, steps=2, turns=1, precisions=("32-true", "bf16-mixed"))
    check(overhead.measure(plan), "overhead", 2)


def test_both_loops_end_with_the_same_weights(folder: Path) -> None:
    loader = models.make_data(folder, 40, "train", batch_size=8).train_dataloader()
    batches = list(loader)
    ours, bare = overhead.our_module(folder, dropout=False), overhead.bare_network(folder, dropout=False)
    start = {name: value.clone() for name, value in ours.model.state_dict().items()}
    timed.timed_fit(ours, loader, folder, "32-true")
    overhead.bare_loop(bare, batches, "32-true")
    trained, other = ours.model.state_dict(), bare.state_dict()
    assert any(not torch.equal(trained[name], start[name]) for name in start)
    assert all(torch.equal(trained[name], other[name]) for name in start)


def test_both_loops_have_the_same_dropout(folder: Path) -> None:
    loader = models.make_data(folder, 10, "train", batch_size=8).train_dataloader()
    ours, bare = overhead.our_module(folder), overhead.bare_network(folder)
    timed.timed_fit(ours, loader, folder, "32-true")
    batch = next(iter(loader))
    bare.load_state_dict(ours.model.state_dict())
    dropped = []
    for network in (ours.model.train(), bare.train()):
        torch.manual_seed(0)
        dropped.append(network(**batch.inputs).start_logits)
    assert torch.equal(*dropped)
    assert not torch.equal(dropped[0], bare.eval()(**batch.inputs).start_logits)


# Decoding


@pytest.fixture(scope="module")
def logits() -> decode.Decodable:
    """Questions, two of them with two windows, of 60 tokens."""
    return decode.random_logits(80, length=60)


def looped(data: decode.Decodable, candidates: int) -> dict[str, list[dict[str, Any]]]:
    return decode.loops(
        data.examples, data.features, data.start_logits.numpy(), data.end_logits.numpy(), candidates=candidates
    )


def test_some_questions_have_two_windows(logits: decode.Decodable) -> None:
    assert [question["id"] for question in logits.examples] == [str(number) for number in range(80)]
    assert len(logits.features) == len(logits.start_logits) == sum(map(len, logits.batches)) == 82


def test_loops_that_try_everything_give_our_answers(logits: decode.Decodable) -> None:
    answers = looped(logits, candidates=60)
    predictions = decode.ours(logits)
    assert len(predictions) == 80
    for prediction in predictions:
        theirs = {
            (answer["text"], answer["start_logit"], answer["end_logit"]) for answer in answers[prediction.question.id]
        }
        if prediction.question.windows == 1:  # the loops keep a span twice that two windows found
            assert theirs == {(answer.text, answer.start_logit, answer.end_logit) for answer in prediction.answers}
        assert prediction.text == answers[prediction.question.id][0]["text"]


def test_the_examples_loops_agree_where_they_look(logits: decode.Decodable) -> None:
    answers = looped(logits, candidates=decode.K)
    same = sum(prediction.text == answers[prediction.question.id][0]["text"] for prediction in decode.ours(logits))
    assert 0 < decode.agreement(logits) == same


def test_a_disagreement_is_an_error(logits: decode.Decodable, monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = decode.ours(logits)
    for prediction in predictions:
        prediction.answers = prediction.answers[1:]
    monkeypatch.setattr(decode, "ours", lambda _: predictions)
    with pytest.raises(AssertionError, match="the loops found a better answer"):
        decode.agreement(logits)


def test_decode_gives_figures() -> None:
    check(decode.measure(40), "decode", 3)


# Evaluation


def test_gathered_logits_give_the_validations_answers(folder: Path, tmp_path: Path) -> None:
    settings = {"max_length": 96, "doc_stride": 8, "max_question_length": 24}
    data = models.make_data(folder, 12, "validation", eval_batch_size=4, **settings)
    module = models.make_module(folder, **settings)
    seen: dict[str, Answer] = {}

    class Watch(pl.Callback):
        def on_validation_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
            seen.update((prediction.question.id, prediction.answers[0]) for prediction in outputs["predictions"])

    with models.quiet():
        models.make_trainer(tmp_path, Watch()).validate(module, data.val_dataloader(), verbose=False)
    gathered = evaluate.gather(module, data)
    assert len(seen) == 12
    assert gathered.keys() == seen.keys()
    theirs = {name: answers[0]["start_logit"] + answers[0]["end_logit"] for name, answers in gathered.items()}
    assert all(seen[name].score >= score - 1e-5 for name, score in theirs.items())
    alike = {name for name, answers in gathered.items() if answers[0]["text"] == seen[name].text}
    assert alike
    assert all(seen[name].score == pytest.approx(theirs[name], abs=1e-5) for name in alike)


@pytest.mark.slow
def test_evaluate_gives_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "in_child", in_fork)
    check(evaluate.measure(evaluate.Plan(TINY, 20)), "evaluate", 4)


# The limit


@pytest.mark.parametrize("shape", [TINY, TINY_DISTILBERT, models.tiny(MODERNBERT)])
def test_operations_are_those_that_torch_counts(tmp_path: Path, shape: Shape) -> None:
    module = models.make_module(
        models.write_model(shape, tmp_path), attn_implementation="eager"
    )  # torch does not count its CPU kernel of attention
    batch = limit.full_batch(2, 40)
    with FlopCounterMode(display=False) as counter:
        sum(logits.sum() for logits in module(batch)).backward()
    assert limit.operations(module.model, 2, 40) == counter.get_total_flops()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(batch)
    assert limit.operations(module.model, 2, 40, backward=False) == counter.get_total_flops()


def test_a_sliding_window_and_relative_positions_count(tmp_path: Path) -> None:
    with torch.device("meta"):
        sliding = models.make_module(models.write_model(MODERNBERT, tmp_path / "sliding")).model
        relative = models.make_module(models.write_model(DEBERTA, tmp_path / "relative")).model
    near, far = (limit.operations(sliding, 1, length, backward=False) / length for length in (1_000, 2_000))
    assert far - near == 4 * 768 * 8 * 1_000  # of its 22 layers, 8 see all
    linear = sum(module.weight.numel() for module in relative.modules() if isinstance(module, torch.nn.Linear))
    assert limit.operations(relative, 1, 1, backward=False) == 2 * linear + 12 * 768 * (4 + 2 * 2 * 512)


def test_limit_gives_figures() -> None:
    check([limit.measure(limit.Plan(TINY, 2, 24, 1))], "limit", 1)
