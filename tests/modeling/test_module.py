"""The LightningModule: its steps with hand-made batches, and short trainings with a real trainer."""

from __future__ import annotations

import collections
import json
import os
import pickle
import re
import shutil
import statistics
import string
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.cli import ReduceLROnPlateau
from torch import Tensor, tensor
from torch.nn.functional import cross_entropy
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, FNetConfig

from qa_lightning.modeling import acceleration, attention, evaluation_hooks
from qa_lightning.modeling.evaluation import MeanLoss
from qa_lightning.modeling.module import QALightningModule
from qa_lightning.pretrained.settings import SETTINGS_FILE
from qa_lightning.records import Batch, Prediction
from qa_lightning.utils.errors import UserError
from tests import forked
from tests.modeling.families import config
from tests.tiny import tiny_folder, tiny_tokenizer
from tests.training import (
    NO_DROPOUT,
    SETTINGS,
    Watch,
    make_data,
    make_module,
    make_trainer,
    script_scores,
    trains,
    write_long,
)
from tests.waits import Waits

pytestmark = trains


def make_batch(
    *, starts: list[list[int]], ends: list[list[int]], lengths: list[int] | None = None, null: list[int] | None = None
) -> Batch:
    """Windows of ten tokens: one special, three of the question, one special, five of the context."""
    number = len(starts)
    real = torch.arange(10) < tensor(lengths or [10] * number)[:, None]
    place = torch.arange(10).expand(number, 10)
    return Batch(
        inputs={
            "input_ids": torch.where(real, (place * 7 + torch.arange(number)[:, None]) % 50 + 4, 0),
            "attention_mask": real.long(),
            "token_type_ids": (place > 4).long(),
        },
        question_mask=(place >= 1) & (place <= 3),
        context_mask=(place >= 5) & real,
        null_position=tensor(null or [0] * number),
        starts=tensor(starts),
        ends=tensor(ends),
        ids=[f"q{i}" for i in range(number)],
    )


def logits(module: QALightningModule, batch: Batch) -> Tensor:
    module.eval()
    with torch.no_grad():
        return torch.stack(module(batch))


# Forward


def test_forward_hands_the_inputs_to_the_model(folder: Path) -> None:
    module = make_module(folder).eval()
    batch = make_batch(starts=[[5], [6]], ends=[[5], [7]], lengths=[10, 8])
    output = module.model(**batch.inputs)
    start_logits, end_logits = module(batch)
    assert torch.equal(start_logits, output.start_logits)
    assert torch.equal(end_logits, output.end_logits)


def test_forward_leaves_out_inputs_that_the_model_does_not_take(tmp_path: Path) -> None:
    config("distilbert").save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    module = make_module(None, config_name=str(tmp_path), tokenizer_name=str(tmp_path))
    assert logits(module, make_batch(starts=[[5]], ends=[[5]])).shape == (2, 1, 10)


@pytest.mark.parametrize(("null", "expected"), [(0, [0, 1, 2, 3]), (9, [1, 2, 3, 9]), (-1, [0, 1, 2, 3])])
def test_longformers_global_attention_falls_on_the_question_and_on_null(
    tmp_path: Path, null: int, expected: list[int]
) -> None:
    config("longformer").save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    module = make_module(None, config_name=str(tmp_path), tokenizer_name=str(tmp_path))
    seen: dict[str, Any] = {}
    module.model.register_forward_pre_hook(lambda _, args, kwargs: seen.update(kwargs), with_kwargs=True)
    assert logits(module, make_batch(starts=[[5]], ends=[[5]], null=[null])).isfinite().all()
    assert seen["global_attention_mask"].dtype == torch.int64
    assert seen["global_attention_mask"][0].nonzero().flatten().tolist() == expected


# Training


def test_the_loss_is_the_mean_over_labelled_windows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = make_module(folder).eval()
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    batch = make_batch(starts=[[5], [-1], [7]], ends=[[6], [-1], [7]], lengths=[10, 10, 8])
    losses = []
    for row, start, end, length in ((0, 5, 6, 10), (2, 7, 7, 8)):
        alone = module.model(**{name: value[row : row + 1, :length] for name, value in batch.inputs.items()})
        losses.append(cross_entropy(alone.start_logits, tensor([start])))
        losses.append(cross_entropy(alone.end_logits, tensor([end])))
    torch.testing.assert_close(module.training_step(batch, 0), torch.stack(losses).mean())


def test_batches_of_unequal_numbers_add_up_to_the_mean_over_all_windows(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_data(folder, train=write_long(tmp_path / "squad.json", copies=2), tokens_per_batch=100)
    data.setup("fit")
    module = make_module(folder, config_overrides=NO_DROPOUT)
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    batches = list(data.train_dataloader())
    assert len({len(batch) for batch in batches}) > 1
    mean = sum(module.training_step(batch, 0) for batch in batches) / len(batches)
    dataset = data.splits["train"][0].dataset
    everything = replace(dataset[np.arange(len(dataset))], weight=1.0)
    torch.testing.assert_close(mean, module.training_step(everything, 0))


def test_a_batch_without_labels_has_a_loss_of_zero(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = make_module(folder)
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    assert module.training_step(make_batch(starts=[[-1], [-1]], ends=[[-1], [-1]]), 0) == 0


def test_dropout_is_active_in_training_and_not_in_evaluation(folder: Path, squad: Path, tmp_path: Path) -> None:
    batch = make_batch(starts=[[5]], ends=[[5]])

    def repeats(module: pl.LightningModule) -> bool:
        with torch.no_grad():
            return torch.equal(module(batch)[0], module(batch)[0])

    class InValidation(pl.Callback):
        seen: list[bool] = []  # noqa: RUF012

        def on_validation_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
            self.seen.append(repeats(pl_module))

    training, validation = Watch(lambda _, module: (module.model.training, repeats(module))), InValidation()
    trainer = make_trainer(tmp_path, training, validation, max_epochs=2)
    data = make_data(folder, train=squad, validation_file=str(squad))
    trainer.fit(make_module(folder), data)
    assert set(training.seen) == {(True, False)}
    assert set(validation.seen) == {True}


def test_training_makes_the_loss_small(folder: Path, tmp_path: Path) -> None:
    train = write_long(tmp_path / "train.json")
    watch = Watch(lambda trainer, _: float(trainer.callback_metrics["train/loss"]))
    trainer = make_trainer(tmp_path, watch, max_epochs=30)
    trainer.fit(make_module(folder, learning_rate=1e-2, config_overrides=NO_DROPOUT), make_data(folder, train=train))
    assert watch.seen[-1] < 0.2 * watch.seen[0]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_names_the_questions(folder: Path, squad: Path, tmp_path: Path, value: float) -> None:
    module = make_module(folder)
    torch.nn.init.constant_(module.model.qa_outputs.weight, value)
    data = make_data(folder, train=squad, batch_size=2)
    with pytest.raises(UserError, match="lower the learning rate") as caught:
        make_trainer(tmp_path).fit(module, data)
    named = re.findall(r"\b\d-\d\b", str(caught.value))
    ids = [qa["id"] for p in json.loads(squad.read_text())["data"][0]["paragraphs"] for qa in p["qas"]]
    assert named
    assert set(named) <= set(ids)
    assert len(named) <= 2


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize(("algorithm", "order"), [("norm", 2), ("value", torch.inf)])
def test_gradients_are_clipped_before_the_fused_step(
    folder: Path, squad: Path, tmp_path: Path, precision: Any, algorithm: str, order: float
) -> None:
    class Recording(QALightningModule):
        before: list[float]
        after: list[float]

        def size(self) -> float:
            gradients = torch.cat([p.grad.flatten() for p in self.parameters() if p.grad is not None])
            return float(gradients.norm(order))

        def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
            assert all(group["fused"] for group in optimizer.param_groups)
            self.before.append(self.size())
            super().configure_gradient_clipping(optimizer, *args, **kwargs)
            self.after.append(self.size())

    limit = 1e-3
    for value in (limit, None):
        module = Recording(str(folder), **SETTINGS)
        module.before, module.after = [], []
        options = {"precision": precision, "gradient_clip_val": value, "gradient_clip_algorithm": algorithm}
        make_trainer(tmp_path, **options).fit(module, make_data(folder, train=squad))
        assert module.before
        assert min(module.before) > limit
        assert module.after == pytest.approx([limit] * len(module.after) if value else module.before, rel=1e-3)


# Optimizers


def fit_and_watch_rates(
    folder: Path, squad: Path, tmp_path: Path, *, validation: bool = False, **options: Any
) -> tuple[torch.optim.Optimizer, list[float]]:
    """Trains two epochs; the optimizer, and its learning rate after each step."""
    watch = Watch(lambda trainer, _: trainer.optimizers[0].param_groups[0]["lr"])
    trainer = make_trainer(tmp_path, watch, max_epochs=2)
    files = {"validation_file": str(squad)} if validation else {}
    data = make_data(folder, train=squad, **files)
    trainer.fit(make_module(folder, **options), data)
    return trainer.optimizers[0], watch.seen


def test_the_rate_follows_its_schedule_step_by_step(folder: Path, squad: Path, tmp_path: Path) -> None:
    optimizer, rates = fit_and_watch_rates(folder, squad, tmp_path, learning_rate=0.1, warmup_steps=2)
    steps = len(rates)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert rates == pytest.approx([0.05, 0.1, *(0.1 * (steps - i) / (steps - 2) for i in range(3, steps + 1))])


def test_another_optimizer_and_schedule_can_be_given(folder: Path, squad: Path, tmp_path: Path) -> None:
    optimizer, rates = fit_and_watch_rates(
        folder,
        squad,
        tmp_path,
        weight_decay=0.1,
        optimizer=lambda groups: torch.optim.SGD(groups, lr=0.1),
        lr_scheduler=lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5),
    )
    assert isinstance(optimizer, torch.optim.SGD)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert rates == pytest.approx([0.1 / 2**i for i in range(1, len(rates) + 1)])


@pytest.mark.parametrize(
    "plateau",
    [
        lambda optimizer: torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="min", patience=0, threshold=1e9),
        lambda optimizer: ReduceLROnPlateau(optimizer, "val/loss", mode="min", patience=0, threshold=1e9),
    ],
)
def test_a_plateau_is_looked_for_after_each_epoch(
    folder: Path, squad: Path, tmp_path: Path, plateau: Callable[..., Any]
) -> None:
    _, rates = fit_and_watch_rates(folder, squad, tmp_path, validation=True, learning_rate=0.1, lr_scheduler=plateau)
    # With this threshold no epoch is ever good enough.
    assert rates == pytest.approx([0.1] * (len(rates) // 2) + [0.01] * (len(rates) // 2))


def test_a_plateau_is_that_of_the_score_it_watches(folder: Path, squad: Path, tmp_path: Path) -> None:
    # By f1, the second and third epoch would be worse than the first; by the loss, each is better.
    module = script_scores(
        make_module(
            folder,
            learning_rate=1e-3,
            config_overrides=NO_DROPOUT,
            lr_scheduler=lambda optimizer: ReduceLROnPlateau(optimizer, "val/loss", mode="min", patience=0),
        ),
        *(10.0, 20.0, 30.0),
    )
    watch = Watch(lambda trainer, _: trainer.optimizers[0].param_groups[0]["lr"])
    data = make_data(folder, train=squad, validation_file=str(squad))
    make_trainer(tmp_path, watch, max_epochs=3, num_sanity_val_steps=0).fit(module, data)
    assert set(watch.seen) == {1e-3}


# Evaluation against a slow reference


def official_f1(prediction: str, gold: str) -> float:
    """As the official SQuAD 2.0 script computes it."""

    def tokens(text: str) -> list[str]:
        text = "".join(character for character in text.lower() if character not in string.punctuation)
        return re.sub(r"\b(a|an|the)\b", " ", text).split()

    predicted, wanted = tokens(prediction), tokens(gold)
    if not predicted or not wanted:
        return float(predicted == wanted)
    common = sum((collections.Counter(predicted) & collections.Counter(wanted)).values())
    if not common:
        return 0.0
    precision, recall = common / len(predicted), common / len(wanted)
    return 2 * precision * recall / (precision + recall)


def slow_evaluation(
    folder: Path, squad: Path, max_answer_length: int
) -> tuple[dict[str, str], dict[str, float], float]:
    """Best spans, null odds and loss, window by window by the tokenizer's own truncation, span by span."""
    model = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    answers, odds, losses = {}, {}, []
    for paragraph in json.loads(squad.read_text())["data"][0]["paragraphs"]:
        context = paragraph["context"]
        for qa in paragraph["qas"]:
            windows = tokenizer(
                qa["question"],
                context,
                truncation="only_second",
                max_length=SETTINGS["max_length"],
                stride=SETTINGS["doc_stride"],
                return_overflowing_tokens=True,
                return_offsets_mapping=True,
            )
            spans, nulls = [], []
            for i, offsets in enumerate(windows["offset_mapping"]):
                names = ("input_ids", "attention_mask", "token_type_ids")
                with torch.no_grad():
                    output = model(**{name: tensor([windows[name][i]]) for name in names})
                start, end = output.start_logits[0].tolist(), output.end_logits[0].tolist()
                inside = [k for k, sequence in enumerate(windows.sequence_ids(i)) if sequence == 1]
                spans += [
                    (start[first] + end[last], offsets[first][0], offsets[last][1])
                    for first in inside
                    for last in inside
                    if first <= last < first + max_answer_length
                ]
                nulls.append(start[0] + end[0])
                label = (0, 0)
                for gold in qa["answers"][:1]:
                    a, b = gold["answer_start"], gold["answer_start"] + len(gold["text"])
                    covering = [k for k in inside if offsets[k][0] < b and offsets[k][1] > a]
                    if covering and offsets[covering[0]][0] <= a and offsets[covering[-1]][1] >= b:
                        label = covering[0], covering[-1]
                for logits, place in zip((output.start_logits, output.end_logits), label, strict=True):
                    losses.append(cross_entropy(logits, tensor([place])).item())
            score, first, last = max(spans)
            odds[qa["id"]] = min(nulls) - score
            answers[qa["id"]] = context[first:last]
    return answers, odds, sum(losses) / len(losses)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_validation_equals_a_slow_evaluation(folder: Path, squad: Path, tmp_path: Path, batch_size: int) -> None:
    spans, odds, loss = slow_evaluation(folder, squad, max_answer_length=3)
    threshold = statistics.median(odds.values())  # so that null is predicted for one half
    answers = {key: "" if odds[key] > threshold else span for key, span in spans.items()}
    module = make_module(folder, null_score_diff_threshold=threshold, max_answer_length=3, n_best_size=2)
    data = make_data(folder, validation_file=str(squad), eval_batch_size=batch_size)
    seen: list[Prediction] = []

    class Keep(pl.Callback):
        def on_validation_batch_end(
            self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any
        ) -> None:
            seen.extend(outputs["predictions"])

    trainer = make_trainer(tmp_path, Keep())
    (logged,) = trainer.validate(module, data, verbose=False)
    assert {prediction.question.id: prediction.text for prediction in seen} == answers
    assert {prediction.question.id: prediction.null_odds for prediction in seen} == pytest.approx(odds, abs=1e-4)

    golds = {
        qa["id"]: [answer["text"] for answer in qa["answers"]] or [""]
        for paragraph in json.loads(squad.read_text())["data"][0]["paragraphs"]
        for qa in paragraph["qas"]
    }
    f1 = {key: max(official_f1(answers[key], gold) for gold in golds[key]) for key in golds}
    answerable = [key for key in golds if golds[key] != [""]]
    assert module.scores[""]["f1"] == pytest.approx(100 * sum(f1.values()) / len(f1), abs=1e-9)
    assert module.scores[""]["HasAns_f1"] == pytest.approx(
        100 * sum(f1[k] for k in answerable) / len(answerable), abs=1e-9
    )
    assert module.scores[""]["loss"] == pytest.approx(loss, abs=1e-5)
    assert logged["val/f1"] == pytest.approx(module.scores[""]["f1"])
    assert logged["val/loss"] == pytest.approx(loss, abs=1e-5)
    assert not any(key.endswith("total") for key in logged)


def test_losses_are_summed_in_full_precision_whatever_the_weights_have(
    folder: Path, squad: Path, tmp_path: Path
) -> None:
    losses: list[float] = []

    class Recording(QALightningModule):
        def losses(self, batch: Batch, start_logits: Tensor, end_logits: Tensor) -> tuple[Tensor, Tensor]:
            found = super().losses(batch, start_logits, end_logits)
            losses.extend(found[0].tolist())
            return found

    module = Recording(str(folder), **SETTINGS)
    data = make_data(folder, validation_file=str(squad), eval_batch_size=1)
    make_trainer(tmp_path, precision="bf16-true").validate(module, data, verbose=False)
    assert module.dtype == torch.bfloat16
    assert module.scores[""]["loss"] == pytest.approx(statistics.fmean(losses), rel=1e-6)


def test_the_sanity_check_leaves_no_trace(folder: Path, squad: Path, tmp_path: Path) -> None:
    after: list[Any] = []

    class After(pl.Callback):
        def on_sanity_check_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            after.append((dict(pl_module.scores), dict(trainer.callback_metrics)))

    data = make_data(folder, train=squad, validation_file=str(squad))
    straight, checked = make_module(folder), make_module(folder)
    make_trainer(tmp_path, After(), num_sanity_val_steps=2).fit(checked, data)
    make_trainer(tmp_path, num_sanity_val_steps=0).fit(straight, data)
    assert after == [({}, {})]
    assert checked.scores[""]["total"] == 14


def test_only_questions_whose_windows_were_all_seen_are_scored(folder: Path, squad: Path, tmp_path: Path) -> None:
    module = make_module(folder)
    data = make_data(folder, validation_file=str(squad), eval_batch_size=6)
    make_trainer(tmp_path, limit_val_batches=1).validate(module, data, verbose=False)
    windows = data.val_dataloader()[0].dataset.windows.example
    first = next(iter(data.val_dataloader()[0])).questions
    assert first is not None
    whole = {
        question.row for question in first if sum(other.row == question.row for other in first) == question.windows
    }
    assert len({question.row for question in first}) > len(whole) > 0  # the batch ends within a question
    assert module.scores[""]["total"] == len(whole) < len(set(windows.tolist()))


def test_a_validation_without_a_whole_question_has_no_scores(folder: Path, squad: Path, tmp_path: Path) -> None:
    module = make_module(folder)
    data = make_data(folder, validation_file=str(squad), eval_batch_size=1)
    make_trainer(tmp_path, limit_val_batches=1).validate(module, data, verbose=False)
    assert set(module.scores[""]) == {"loss"}


def test_an_evaluation_without_labels_has_no_loss(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    context = "Ada wrote the first program in London."
    path.write_text(json.dumps({"id": "1", "question": "Who?", "context": context, "answers": "Nobody at all"}))
    module = make_module(folder)
    make_trainer(tmp_path).validate(module, make_data(folder, validation_file=str(path)), verbose=False)
    assert module.scores[""]["total"] == 1
    assert "loss" not in module.scores[""]


def test_several_evaluation_sets_have_scores_of_their_own(folder: Path, squad: Path, tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    small = write_long(tmp_path / "small" / "squad.json")
    module = make_module(folder)
    data = make_data(folder, validation_file={"vi": str(small), "en": str(squad)})
    logged = {}
    for part in make_trainer(tmp_path).validate(module, data, verbose=False):
        logged |= part
    assert {name: scores["total"] for name, scores in module.scores.items()} == {"vi": 7, "en": 14}
    for key in ("f1", "exact_match", "loss", "HasAns_f1", "NoAns_f1"):
        assert logged[f"val/{key}"] == logged[f"val/vi/{key}"] == pytest.approx(module.scores["vi"][key])
        assert logged[f"val/en/{key}"] == pytest.approx(module.scores["en"][key])
    assert module.scores["vi"] != module.scores["en"]
    for key in ("f1", "exact_match"):
        assert logged[f"val/mean_{key}"] == pytest.approx((logged[f"val/vi/{key}"] + logged[f"val/en/{key}"]) / 2)


def test_tests_are_logged_by_their_own_name(folder: Path, squad: Path, tmp_path: Path) -> None:
    module = make_module(folder)
    (logged,) = make_trainer(tmp_path).test(module, make_data(folder, test_file=str(squad)), verbose=False)
    assert {key.split("/")[0] for key in logged} == {"test"}
    assert logged["test/f1"] == pytest.approx(module.scores[""]["f1"])


def test_predictions_come_back_in_plain_python(folder: Path, squad: Path, tmp_path: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    rows = [
        {"id": qa["id"], "question": qa["question"], "context": paragraph["context"]}
        for paragraph in json.loads(squad.read_text())["data"][0]["paragraphs"]
        for qa in paragraph["qas"]
    ]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = make_data(folder, predict_file=str(questions), eval_batch_size=3)
    answered = make_trainer(tmp_path).predict(make_module(folder, n_best_size=4), data, return_predictions=True)
    assert answered is not None
    flat: list[Prediction] = [prediction for batch in answered for prediction in batch]
    assert sorted(prediction.question.id for prediction in flat) == sorted(row["id"] for row in rows)
    for prediction in flat:
        assert prediction.question.golds is None
        assert 1 < len(prediction.answers) <= 5
        assert prediction.text in prediction.question.context
        for answer in prediction.answers:
            assert answer.text == prediction.question.context[answer.start : answer.end]


@pytest.mark.parametrize(("validation", "kind"), [(True, "validate"), (False, "predict")])
def test_a_model_without_a_head_is_trained_but_not_evaluated(
    squad: Path, tmp_path: Path, validation: bool, kind: str
) -> None:
    base = tiny_folder(tmp_path / "base", head=False)
    data = make_data(base, train=squad, validation_file=str(squad), predict_file=str(squad))
    module = make_module(base)
    assert module.head_is_missing
    with pytest.raises(UserError, match="has no question-answering head"):
        getattr(make_trainer(tmp_path), kind)(module, data)
    make_trainer(tmp_path).fit(module, data)
    assert module.scores[""]["total"] == 14
    assert not make_module(tiny_folder(tmp_path / "whole")).head_is_missing


# Saving and restoring


@pytest.fixture
def trained(squad: Path, tmp_path: Path) -> tuple[QALightningModule, pl.Trainer]:
    """A module after one epoch, whose model folder is gone."""
    source = tiny_folder(tmp_path / "source")
    module = make_module(source, null_score_diff_threshold=-1.5, learning_rate=1e-2, weight_decay=0.25)
    trainer = make_trainer(tmp_path)
    data = make_data(source, train=squad)
    trainer.fit(module, data)
    shutil.rmtree(source)
    return module, trainer


BATCH = make_batch(starts=[[5], [6]], ends=[[5], [7]], lengths=[10, 8])


def test_a_checkpoint_needs_nothing_else(trained: tuple[QALightningModule, pl.Trainer], tmp_path: Path) -> None:
    module, trainer = trained
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    restored = QALightningModule.load_from_checkpoint(tmp_path / "x.ckpt")
    assert torch.equal(logits(restored, BATCH), logits(module, BATCH))
    assert restored.settings == module.settings
    assert restored.settings["null_score_diff_threshold"] == -1.5
    assert restored.hparams["weight_decay"] == 0.25
    assert restored.tokenizer("Who wrote?", "Ada") == tiny_tokenizer()("Who wrote?", "Ada")
    assert not restored.head_is_missing
    changed = QALightningModule.load_from_checkpoint(tmp_path / "x.ckpt", learning_rate=1.0, max_answer_length=3)
    assert changed.learning_rate == 1.0
    assert changed.settings["max_answer_length"] == 3


def test_a_checkpoint_holds_plain_data_only(trained: tuple[QALightningModule, pl.Trainer], tmp_path: Path) -> None:
    trained[1].save_checkpoint(tmp_path / "x.ckpt")
    checkpoint = torch.load(tmp_path / "x.ckpt", weights_only=True)
    assert {"config", "tokenizer", "settings", "validation_threshold"} == set(checkpoint["qa_lightning"])


def test_a_checkpoint_that_hides_code_is_not_run(trained: tuple[QALightningModule, pl.Trainer], tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    trained[1].save_checkpoint(tmp_path / "x.ckpt")
    checkpoint = torch.load(tmp_path / "x.ckpt", weights_only=True)
    torch.save(checkpoint | {"hyper_parameters": Trap()}, tmp_path / "x.ckpt")
    with pytest.raises(pickle.UnpicklingError):
        QALightningModule.load_from_checkpoint(tmp_path / "x.ckpt")
    assert not (tmp_path / "sprung").exists()


def test_a_saved_model_is_one_of_transformers(trained: tuple[QALightningModule, pl.Trainer], tmp_path: Path) -> None:
    module, _ = trained
    module.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / "model.safetensors").is_file()
    assert not list((tmp_path / "saved").glob("*.bin"))
    model = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "saved").eval()
    with torch.no_grad():
        output = model(**BATCH.inputs)
    assert torch.equal(torch.stack([output.start_logits, output.end_logits]), logits(module, BATCH))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert tokenizer("Who wrote?", "Ada") == tiny_tokenizer()("Who wrote?", "Ada")
    assert json.loads((tmp_path / "saved" / SETTINGS_FILE).read_text()) == module.settings


def test_a_saved_model_is_where_another_training_begins(
    trained: tuple[QALightningModule, pl.Trainer], tmp_path: Path
) -> None:
    trained[0].save_pretrained(tmp_path / "saved")
    again = make_module(tmp_path / "saved")
    assert torch.equal(logits(again, BATCH), logits(trained[0], BATCH))
    assert not again.head_is_missing


@pytest.mark.parametrize(("given", "expected"), [(None, -1.5), (2.0, 2.0), (0.0, 0.0)])
def test_a_threshold_that_is_not_set_is_the_stored_one(
    trained: tuple[QALightningModule, pl.Trainer], tmp_path: Path, given: float | None, expected: float
) -> None:
    module, trainer = trained
    module.save_pretrained(tmp_path / "saved")
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    for source in ("saved", "x.ckpt"):
        again = make_module(tmp_path / source, null_score_diff_threshold=given)
        assert again.settings["null_score_diff_threshold"] == expected


def test_a_threshold_that_is_stored_nowhere_is_zero(folder: Path) -> None:
    assert make_module(folder).settings["null_score_diff_threshold"] == 0.0


def test_a_random_start_is_saved_with_the_tokenizer_it_was_given(folder: Path, tmp_path: Path) -> None:
    config("roberta").save_pretrained(tmp_path / "config")
    module = make_module(None, config_name=str(tmp_path / "config"), tokenizer_name=str(folder))
    module.save_pretrained(tmp_path / "saved")
    assert AutoTokenizer.from_pretrained(tmp_path / "saved").get_vocab() == tiny_tokenizer().get_vocab()
    assert torch.equal(logits(make_module(tmp_path / "saved"), BATCH), logits(module, BATCH))


# Options


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # what torch.compile imports
def test_a_compiled_model_keeps_its_names(folder: Path) -> None:
    plain, compiled = make_module(folder), make_module(folder, torch_compile=True)
    compiled.trainer = make_trainer(folder)
    compiled.setup("fit")
    assert list(compiled.state_dict()) == list(plain.state_dict())
    assert compiled.model._compiled_call_impl is not None
    assert plain.model._compiled_call_impl is None


def test_gradient_checkpointing_changes_memory_and_not_gradients(folder: Path) -> None:
    gradients = []
    for option in (False, True):
        module = make_module(folder, gradient_checkpointing=option, config_overrides=NO_DROPOUT)
        # transformers calls it by another name in older versions.
        names = ("is_activation_checkpointing", "is_gradient_checkpointing")
        name = next(name for name in names if hasattr(module.model, name))
        assert getattr(module.model, name) == option
        sum(part.sum() for part in module(BATCH)).backward()
        gradients.append([p.grad for p in module.parameters() if p.grad is not None])
    torch.testing.assert_close(*gradients)


def test_a_model_that_knows_no_gradient_checkpointing(tmp_path: Path) -> None:
    config("mpnet").save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="mpnet model has no gradient_checkpointing"):
        make_module(None, config_name=str(tmp_path), gradient_checkpointing=True)


def test_the_attention_kernel_can_be_chosen(folder: Path) -> None:
    assert make_module(folder, attn_implementation="eager").model.config._attn_implementation == "eager"


@pytest.mark.parametrize(("device", "precision"), [("cpu", "highest"), ("cuda", "high")])
def test_tf32_is_for_gpus(folder: Path, monkeypatch: pytest.MonkeyPatch, device: str, precision: str) -> None:
    module = make_module(folder)
    set_to = ["highest"]
    monkeypatch.setattr(torch, "set_float32_matmul_precision", set_to.append)
    strategy = SimpleNamespace(root_device=torch.device(device))
    trainer = SimpleNamespace(strategy=strategy, precision="32-true")
    monkeypatch.setattr(type(module), "trainer", trainer)
    module.setup("fit")
    assert set_to[-1] == precision


def test_a_window_longer_than_the_models_positions_is_refused(folder: Path) -> None:
    assert make_module(folder, max_length=64).settings["max_length"] == 64
    with pytest.raises(UserError, match=r"max_length \(65\) is beyond the model's 64 positions"):
        make_module(folder, max_length=65)


@pytest.mark.parametrize("name", ["n_best_size", "max_answer_length"])
def test_less_than_one_answer_or_token_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"{name} must be at least 1, not 0"):
        make_module(folder, **{name: 0})


def test_a_module_can_be_sent_to_another_process(folder: Path) -> None:
    copy = pickle.loads(pickle.dumps(make_module(folder)))
    assert torch.equal(logits(copy, BATCH), logits(make_module(folder), BATCH))


def test_also_to_one_that_has_not_made_a_module(folder: Path, tmp_path: Path) -> None:
    module = make_module(folder).eval()
    (tmp_path / "module").write_bytes(pickle.dumps((module, BATCH)))
    code = (
        "import pickle, pathlib, sys, torch\n"
        "module, batch = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "with torch.no_grad():\n"
        "    print(sum(float(logits.sum()) for logits in module(batch)))"
    )
    ended = forked.run(["-c", code, tmp_path / "module"])
    assert ended.returncode == 0, ended.stderr[-1000:]
    here = sum(float(some.detach().sum()) for some in module(BATCH))
    assert float(ended.stdout) == pytest.approx(here, abs=1e-4)


# On a GPU


@pytest.mark.parametrize("limit", [1.0, 4])
def test_answers_that_come_a_batch_later_are_the_same(
    folder: Path, squad: Path, tmp_path: Path, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Answers(pl.Callback):
        def __init__(self) -> None:
            self.of_batch: list[list[tuple[str, str]]] = []

        def on_validation_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
            self.of_batch.append([(found.question.id, found.text) for found in outputs["predictions"]])

        def on_predict_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
            self.of_batch.append([(found.question.id, found.text) for found in outputs])

    def evaluated(verb: str, defer: bool) -> tuple[list[list[tuple[str, str]]], dict[str, Any]]:
        monkeypatch.setattr(evaluation_hooks, "_waits_for_answers", lambda _: defer)
        sets = {"a": str(squad), "b": str(squad)}
        data = make_data(folder, validation_file=sets, predict_file=sets, eval_batch_size=3)
        pl.seed_everything(5, verbose=False)
        module, answers = make_module(folder), Answers()
        trainer = make_trainer(tmp_path, answers, limit_val_batches=limit, limit_predict_batches=limit)
        getattr(trainer, verb)(module, data)
        return answers.of_batch, module.scores

    for verb in ("validate", "predict"):
        (at_once, scores), (defer, later_scores) = evaluated(verb, False), evaluated(verb, True)
        assert scores == later_scores
        assert len(at_once) == len(defer)
        assert list(chain.from_iterable(at_once)) == list(chain.from_iterable(defer))
        assert at_once != defer
        assert not defer[0]


@pytest.mark.parametrize("packing", [False, True])
def test_no_step_of_an_evaluation_waits_for_a_gpu(
    folder: Path, squad: Path, tmp_path: Path, packing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, waits = QALightningModule.validation_step, Waits()

    def watched(self: Any, *args: Any) -> Any:
        with waits:
            return step(self, *args)

    monkeypatch.setattr(QALightningModule, "validation_step", watched)
    monkeypatch.setattr(attention, "_is_on_host", lambda _: False)
    module = make_module(folder, packing=packing)
    make_trainer(tmp_path).validate(module, make_data(folder, validation_file=str(squad)))
    assert module.scores[""]["loss"] > 0
    assert waits.seen == []


def test_losses_that_are_no_numbers_are_left_out_of_their_mean() -> None:
    mean = MeanLoss()
    mean.update(tensor([1.0, float("nan"), 4.0]), tensor([True, True, False]))
    mean.update(tensor([2.0, 0.0]), tensor([True, False]))
    with pytest.warns(UserWarning, match="not numbers are left out of their mean"):
        assert mean.compute() == 1.5
    assert MeanLoss.compute(MeanLoss()).isnan()


def test_batches_of_one_row_are_taken_by_a_module_that_does_not_pack(folder: Path, squad: Path, tmp_path: Path) -> None:
    data = make_data(folder, validation_file=str(squad))
    trainer = make_trainer(tmp_path)
    trainer.validate(make_module(folder, packing=True), data)
    packed = float(trainer.callback_metrics["val/loss"])
    loaders = trainer.val_dataloaders
    trainer = make_trainer(tmp_path)
    trainer.validate(make_module(folder), loaders)
    assert float(trainer.callback_metrics["val/loss"]) == pytest.approx(packed, rel=1e-5)


def test_batches_weigh_alike_again_where_they_are_no_longer_packed(folder: Path, squad: Path, tmp_path: Path) -> None:
    data = make_data(folder, train=squad, batch_size=7)
    weights = []
    for packing in (True, False):
        watch = Watch(lambda trainer, _: trainer.train_dataloader.dataset.mean_batch_size)
        make_trainer(tmp_path, watch, max_steps=1).fit(make_module(folder, packing=packing), data)
        weights += watch.seen
    assert weights[0] is not None
    assert weights[1] is None


def test_a_new_training_forgets_the_losses_of_one_that_was_interrupted(
    folder: Path, squad: Path, tmp_path: Path
) -> None:
    module, data = make_module(folder), make_data(folder, train=squad)
    with pytest.raises(UserError, match="loss is nan"):
        module._loss_check.add(tensor(float("nan")), 3, ["before"], defer=True)
    before = module.model.qa_outputs.weight.clone()
    make_trainer(tmp_path, max_steps=1).fit(module, data)
    assert not torch.equal(module.model.qa_outputs.weight, before)


def test_gradients_that_are_accumulated_later_in_a_training_count(tmp_path: Path) -> None:
    assert not acceleration.accumulates(make_trainer(tmp_path))
    assert acceleration.accumulates(make_trainer(tmp_path, accumulate_grad_batches=2))
    assert acceleration.accumulates(make_trainer(tmp_path, pl.callbacks.GradientAccumulationScheduler({4: 2})))


def test_a_model_packs_by_itself_where_there_is_a_kernel(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = make_module(folder)
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    compared = []
    monkeypatch.setattr(acceleration, "kernel_is_exact", lambda *given: compared.append(given) or exact)

    def packs(choice: bool | str, device: torch.device, precision: str, kernel: str | None = None) -> bool:
        return acceleration.choose_packing(choice, module.model, kernel, device, precision) is not None

    exact = True
    assert packs("auto", cuda, "bf16-mixed")
    assert packs("auto", cuda, "16-true")
    assert compared == [(cuda, torch.bfloat16, 8), (cuda, torch.float16, 8)]
    assert not packs("auto", cuda, "32-true")
    assert not packs("auto", cpu, "bf16-mixed")
    assert not packs(False, cuda, "bf16-mixed")
    assert packs(True, cpu, "32-true")
    assert not packs("auto", cuda, "bf16-mixed", "eager")
    with pytest.raises(UserError, match="set packing to false"):
        packs(True, cuda, "bf16-mixed", "eager")
    mixing = AutoModelForQuestionAnswering.from_config(FNetConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1))
    assert acceleration.choose_packing("auto", mixing, None, cuda, "bf16-mixed") is None  # without attention heads
    exact = False
    assert not packs("auto", cuda, "bf16-mixed")
    with pytest.raises(UserError, match="flash attention does not run on this GPU with this model; set packing"):
        packs(True, cuda, "bf16-mixed")


def test_graphs_are_replayed_where_a_step_is_one_forward_pass() -> None:
    seen: list[str | None] = []
    network = SimpleNamespace(compile=lambda *, dynamic, mode: seen.append(mode))
    for device, options in (("cuda", {}), ("cuda", {"accumulates": True}), ("cuda", {"reruns": True}), ("cpu", {})):
        acceleration.compile_network(network, torch.device(device), **options)
    assert seen == ["reduce-overhead", None, None, None]


def test_a_training_is_compiled_where_it_is_repaid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "missing_compiler", lambda: missing)
    missing = None
    cuda = torch.device("cuda")
    assert acceleration.compiling_pays(cuda, packed=True, processes=1, batches=5000)
    assert acceleration.compiling_pays(cuda, packed=True, processes=1, batches=float("inf"))
    assert not acceleration.compiling_pays(cuda, packed=True, processes=1, batches=500)
    assert not acceleration.compiling_pays(cuda, packed=True, processes=2, batches=5000)
    assert not acceleration.compiling_pays(cuda, packed=False, processes=1, batches=5000)
    assert not acceleration.compiling_pays(torch.device("cpu"), packed=True, processes=1, batches=5000)
    missing = "triton"
    assert not acceleration.compiling_pays(cuda, packed=True, processes=1, batches=5000)
