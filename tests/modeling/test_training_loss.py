"""The losses that training may use: numbers by hand, a slow reference, and a training with all of them."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, tensor

from qa_lightning.callbacks.checkpoint import RunCheckpoint
from qa_lightning.modeling.loss import PLAIN_LOSS, LossConfig, Normalization, span_loss, training_loss
from qa_lightning.modeling.module import QALightningModule
from qa_lightning.records import Batch
from qa_lightning.utils.errors import UserError
from tests.training import NO_DROPOUT, SETTINGS, StopAt, Watch, make_data, make_module, make_trainer, trains, write_long

pytestmark = trains

CONFIGS = [
    LossConfig(label_smoothing=0.2),
    LossConfig(normalization="spans"),
    LossConfig(normalization="spans", label_smoothing=0.3),
    LossConfig(null_focal_gamma=0.5),
    LossConfig(normalization="spans", null_focal_gamma=2.0, answer_window_weight=3.0, label_smoothing=0.1),
]


def batch_of(context: Tensor, null: list[int], starts: Tensor, ends: Tensor, attention: Tensor | None = None) -> Batch:
    """A batch with only what the loss reads."""
    mask = torch.ones_like(context, dtype=torch.int64) if attention is None else attention
    return Batch({"attention_mask": mask}, ~context, context, tensor(null), starts, ends, [""] * len(context))


def valid_spans(context: list[bool], null: int, most: int) -> list[tuple[int, int]]:
    """The spans that may be answers, and null's."""
    tokens = [i for i, inside in enumerate(context) if inside]
    return [(i, j) for i, j in itertools.product(tokens, tokens) if 0 <= j - i < most] + ([(null, null)] * (null >= 0))


def slow_loss(
    start: list[float],
    end: list[float],
    attention: list[int],
    context: list[bool],
    null: int,
    golds: list[tuple[int, int]],
    config: LossConfig,
    most: int,
) -> float:
    """One window's loss by its formula, in plain floats."""

    def log_sum(values: list[float]) -> float:
        return math.log(sum(map(math.exp, values)))

    if not golds:
        return 0.0
    if config.normalization == "spans":
        spans = valid_spans(context, null, most)
        total = log_sum([start[i] + end[j] for i, j in {*spans, *golds}])
        loss = (total - log_sum([start[i] + end[j] for i, j in golds])) / 2
        uniform = (total - sum(start[i] + end[j] for i, j in spans) / max(1, len(spans))) / 2
    else:
        real = [i for i, kept in enumerate(attention) if kept]
        starts, ends = (log_sum([logits[i] for i in real]) for logits in (start, end))
        loss = (starts + ends - log_sum([start[i] + end[j] for i, j in golds])) / 2
        valid = [i for i, inside in enumerate(context) if inside or i == null]
        uniform = sum(starts - start[i] + ends - end[i] for i in valid) / 2 / max(1, len(valid))
    is_null = golds[0][0] == null
    weight = (1 - math.exp(-2 * loss)) ** config.null_focal_gamma if is_null else config.answer_window_weight
    return weight * ((1 - config.label_smoothing) * loss + config.label_smoothing * uniform)


def test_joint_normalisation_by_hand() -> None:
    # e^logits are 1, 2, 3 and 1, 4, 5; null is the first token: of the spans null 1·1, (1,1) 8, (1,2) 10, (2,2) 15.
    start, end = tensor([[1.0, 2.0, 3.0]]).log(), tensor([[1.0, 4.0, 5.0]]).log()
    batch = batch_of(tensor([[False, True, True]]), [0], tensor([[1]]), tensor([[2]]))
    losses, labelled = training_loss(start, end, batch, LossConfig(normalization="spans"), 2)
    assert losses.tolist() == pytest.approx([-0.5 * math.log(10 / 34)])
    assert labelled.tolist() == [True]
    # Answers of one token only: the gold is one more choice.
    losses, _ = training_loss(start, end, batch, LossConfig(normalization="spans"), 1)
    assert losses.tolist() == pytest.approx([-0.5 * math.log(10 / (1 + 8 + 15 + 10))])


def test_smoothing_by_hand() -> None:
    start, end = tensor([[1.0, 2.0, 5.0]]).log(), tensor([[1.0, 6.0, 1.0]]).log()
    batch = batch_of(tensor([[False, True, True]]), [-1], tensor([[1]]), tensor([[1]]))
    losses, _ = training_loss(start, end, batch, LossConfig(label_smoothing=0.5), 2)
    gold = -(math.log(2 / 8) + math.log(6 / 8)) / 2
    uniform = -(math.log(2 / 8) + math.log(5 / 8) + math.log(6 / 8) + math.log(1 / 8)) / 4
    assert losses.tolist() == pytest.approx([0.5 * gold + 0.5 * uniform])


def test_sure_nulls_count_less_and_answers_more_by_hand() -> None:
    # p(null) = 1/2 · 1/2 in both windows; the second holds an answer of the same probability.
    logits = torch.zeros(2, 2)
    batch = batch_of(tensor([[False, True]] * 2), [0, 0], tensor([[0], [1]]), tensor([[0], [1]]))
    config = LossConfig(null_focal_gamma=2.0, answer_window_weight=3.0)
    losses, _ = training_loss(logits, logits, batch, config, 2)
    assert losses.tolist() == pytest.approx([math.log(2) * (3 / 4) ** 2, 3 * math.log(2)])


@st.composite
def windows(draw: st.DrawFn) -> tuple[Any, ...]:
    """Logits, masks, null and golds of one window of at most six tokens, padded to eight."""
    real = draw(st.integers(2, 6))
    logits = [draw(st.lists(st.floats(-5, 5, width=32), min_size=8, max_size=8)) for _ in range(2)]
    first = draw(st.integers(1, real - 1))
    context = [first <= i < real and draw(st.booleans()) for i in range(8)]
    null = draw(st.sampled_from([0, -1]))
    token = st.integers(first, real - 1)
    spans = st.tuples(token, token).map(lambda pair: (min(pair), max(pair)))
    golds = draw(st.lists(spans, max_size=2, unique=True) | st.just([(null, null)] * (null >= 0)))
    return *logits, [int(i < real) for i in range(8)], context, null, golds


@settings(max_examples=60)
@given(st.lists(windows(), min_size=1, max_size=3), st.sampled_from([*CONFIGS, PLAIN_LOSS]), st.integers(1, 9))
def test_equals_the_formula(rows: list[tuple[Any, ...]], config: LossConfig, most: int) -> None:
    start, end, attention, context, null, golds = (list(column) for column in zip(*rows, strict=True))
    padded = tensor([[*places, *[(-1, -1)] * (2 - len(places))] for places in golds])
    batch = batch_of(tensor(context), null, padded[..., 0], padded[..., 1], tensor(attention))
    losses, labelled = training_loss(tensor(start), tensor(end), batch, config, most)
    assert labelled.tolist() == [bool(places) for places in golds]
    assert losses.tolist() == pytest.approx([slow_loss(*row, config, most) for row in rows], abs=2e-5, rel=1e-4)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("size", [1.0, 1e4, 1e30])
def test_losses_and_gradients_are_finite_and_padding_has_none(config: LossConfig, size: float) -> None:
    start = (size * tensor([[3.0, -1.0, 0.5, 2.0, 9.0], [-2.0, 1.0, 0.0, 0.0, 9.0]])).requires_grad_()
    context = tensor([[False, False, True, True, False]] * 2)
    attention = tensor([[1, 1, 1, 1, 0]] * 2)
    batch = batch_of(context, [0, -1], tensor([[0], [-1]]), tensor([[0], [-1]]), attention)
    losses, _ = training_loss(start, start, batch, config, 2)
    (gradient,) = torch.autograd.grad(losses.sum(), start)
    assert losses.isfinite().all()
    assert gradient.isfinite().all()
    assert (gradient[:, 4] == 0).all()
    assert (gradient[1] == 0).all()
    assert losses[1] == 0


@pytest.mark.parametrize("normalization", ["pointers", "spans"])
def test_without_smoothing_and_weights_the_plain_loss_is_left(normalization: Normalization) -> None:
    start, end = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0))
    places = tensor([[1], [2], [3], [4]])
    batch = batch_of(torch.ones(4, 6, dtype=torch.bool), [-1] * 4, places, places)
    losses, _ = training_loss(start, end, batch, LossConfig(normalization=normalization), 6)
    plain, _ = span_loss(start, end, batch.inputs["attention_mask"], places, places)
    assert torch.allclose(losses, plain) is (normalization == "pointers")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"label_smoothing": 1.0}, "model.loss.label_smoothing must be at least 0 and below 1"),
        ({"null_focal_gamma": -1.0}, "model.loss.null_focal_gamma"),
        ({"answer_window_weight": -0.5}, "model.loss.answer_window_weight"),
    ],
)
def test_what_is_no_loss_is_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        LossConfig(**values)  # type: ignore[arg-type]


LOSS = {"normalization": "spans", "label_smoothing": 0.1, "null_focal_gamma": 1.0, "answer_window_weight": 2.0}


@pytest.fixture(scope="module")
def squad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_long(tmp_path_factory.mktemp("squad") / "train.json", copies=4)


def test_a_training_goes_on_with_its_loss_and_sample_as_if_in_one_go(folder: Path, squad: Path, tmp_path: Path) -> None:
    """The loss is in the checkpoint, and the windows of an epoch are drawn by the epoch alone."""

    def train(run: Path, *callbacks: Any, resume: bool = False) -> QALightningModule:
        pl.seed_everything(0, verbose=False)
        if not any(isinstance(callback, RunCheckpoint) for callback in callbacks):
            callbacks = (*callbacks, RunCheckpoint())
        module = make_module(folder, loss=LossConfig(**LOSS), max_answer_length=4)  # type: ignore[arg-type]
        data = make_data(folder, train=squad, null_windows=0.4)
        trainer = make_trainer(run, *callbacks, max_epochs=3, limit_val_batches=0)
        path = str(run / "checkpoints/last.ckpt") if resume else None
        trainer.fit(module, data, ckpt_path=path, weights_only=True)
        return module

    straight = train(tmp_path / "straight")
    with pytest.raises(ValueError, match="killed"):
        train(tmp_path / "cut", RunCheckpoint(every_n_train_steps=5), StopAt(ValueError("killed"), 7))
    went_on = train(tmp_path / "cut", resume=True)
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), went_on.parameters(), strict=True))
    loaded = QALightningModule.load_from_checkpoint(tmp_path / "cut/checkpoints/last.ckpt")
    assert loaded.loss == LossConfig(**LOSS)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"packing": True}, {}])
def test_packed_batches_have_the_same_losses(
    folder: Path, squad: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    losses = Watch(lambda trainer, _: float(trainer.callback_metrics["train/loss"]))
    torch.manual_seed(0)
    module = make_module(
        folder,
        loss=LossConfig(**LOSS),  # type: ignore[arg-type]
        config_overrides=NO_DROPOUT,
        **options,
    )
    data = make_data(folder, train=squad, batch_size=1000)
    make_trainer(tmp_path, losses, limit_val_batches=0).fit(module, data)
    assert len(losses.seen) == 1
    plain = make_module(folder, config_overrides=NO_DROPOUT)
    plain.loss = module.loss
    data.setup("fit")
    sets = data.splits["train"][0].dataset
    sets.shapes = None
    batch = sets[np.arange(len(sets))]
    with torch.no_grad():
        expected, labelled = training_loss(*plain(batch), batch, plain.loss, 30)
    assert losses.seen[0] == pytest.approx(float(expected.sum() / labelled.sum()), rel=1e-4)


def test_a_subclass_may_change_the_plain_loss(folder: Path, squad: Path, tmp_path: Path) -> None:
    class Doubled(QALightningModule):
        def losses(self, batch: Batch, start_logits: Tensor, end_logits: Tensor) -> tuple[Tensor, Tensor]:
            losses, labelled = super().losses(batch, start_logits, end_logits)
            return 2 * losses, labelled

    def first_loss(kind: type[QALightningModule]) -> float:
        module = kind(str(folder), config_overrides=NO_DROPOUT, **SETTINGS)
        losses = Watch(lambda trainer, _: float(trainer.callback_metrics["train/loss"]))
        make_trainer(tmp_path, losses, limit_val_batches=0, max_steps=1).fit(module, make_data(folder, train=squad))
        return losses.seen[0]

    assert first_loss(Doubled) == pytest.approx(2 * first_loss(QALightningModule))
