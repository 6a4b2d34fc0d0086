"""Options that make training faster change neither its losses nor its scores, but for the rounding of the precision."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from qa_lightning.data.datamodule import QADataModule
from qa_lightning.modeling.regularization import Regularization
from tests.tiny import tiny_folder
from tests.training import NO_DROPOUT, Watch, make_data, make_module, make_trainer, trains, write_long

pytestmark = trains

OPTIONS: dict[str, dict[str, Any]] = {
    "eager attention": {"attn_implementation": "eager"},
    "gradient checkpointing": {"gradient_checkpointing": True},
}
"""Arguments of the module, by what they do."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speed")
    tiny_folder(folder / "model")
    write_long(folder / "squad.json", copies=3)
    return folder


def train(
    folder: Path, module: dict[str, Any] | None = None, data: dict[str, Any] | None = None, **trainer: Any
) -> tuple[list[float], dict[str, float]]:
    """The losses of two epochs of training, and the scores in the end."""
    pl.seed_everything(5, verbose=False)
    squad = folder / "squad.json"
    losses = Watch(lambda trainer, _: float(trainer.callback_metrics["train/loss"]))
    fitted = make_module(folder / "model", learning_rate=3e-3, config_overrides=NO_DROPOUT, **module or {})
    questions = make_data(folder / "model", train=squad, validation_file=str(squad), **data or {})
    make_trainer(folder, losses, max_epochs=2, **trainer).fit(fitted, questions)
    return losses.seen, fitted.scores[""]


@pytest.fixture(scope="module")
def plain(folder: Path) -> tuple[list[float], dict[str, float]]:
    """What a training without any of the options gives."""
    losses, scores = train(folder)
    assert losses[-1] < 0.8 * losses[0]
    assert 0 < scores["f1"] < 100
    return losses, scores


@pytest.mark.parametrize("option", OPTIONS)
def test_losses_and_scores_stay_what_they_are(
    folder: Path, plain: tuple[list[float], dict[str, float]], option: str
) -> None:
    losses, scores = train(folder, OPTIONS[option])
    assert losses == pytest.approx(plain[0], rel=1e-4)
    assert scores == pytest.approx(plain[1], rel=1e-4)


@pytest.mark.parametrize(
    "options", [{}, {"gradient_checkpointing": True}], ids=["packing", "packing and checkpointing"]
)
@pytest.mark.parametrize("tokens_per_batch", [None, 64])
def test_packed_batches_have_the_losses_of_padded_ones(
    folder: Path, options: dict[str, Any], tokens_per_batch: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {"tokens_per_batch": tokens_per_batch}
    packed = train(folder, {"packing": True} | options, data)
    monkeypatch.setattr(QADataModule, "on_before_batch_transfer", lambda _, batch, __: replace(batch, row_tokens=None))
    padded = train(folder, {"packing": True} | options, data)
    assert packed[0] == pytest.approx(padded[0], rel=1e-4)
    assert packed[1] == pytest.approx(padded[1], rel=1e-4)
    assert packed[0][-1] < 0.8 * packed[0][0]


def test_half_precision_stays_close(folder: Path, plain: tuple[list[float], dict[str, float]]) -> None:
    losses, _ = train(folder, precision="bf16-mixed")
    assert losses[:5] == pytest.approx(plain[0][:5], rel=2**-6)


def test_batches_that_are_filled_up_to_few_shapes_have_the_same_losses_and_gradients(folder: Path) -> None:
    squad = folder / "squad.json"
    module = make_module(folder / "model", config_overrides=NO_DROPOUT)
    data = make_data(folder / "model", train=squad, batch_shapes=2, batch_size=7)
    data.setup("fit")
    loader = data.train_dataloader()
    dataset = data.splits["train"][0].dataset
    shapes = dataset.shapes
    assert shapes is not None

    def loss_and_gradient(rows: Any) -> tuple[tuple[int, ...], torch.Tensor, torch.Tensor]:
        batch = dataset[rows]
        losses, labelled = module.losses(batch, *module(batch))
        assert labelled.all()
        module.zero_grad()
        losses.mean().backward()
        gradients = [p.grad.flatten() for p in module.parameters() if p.grad is not None]
        return tuple(batch.inputs["input_ids"].shape), losses.detach(), torch.cat(gradients)

    seen = set()
    filled = 0
    for rows in loader.sampler:
        dataset.shapes = shapes
        shape, losses, gradient = loss_and_gradient(rows)
        seen.add(shape)
        filled += shape[0] > len(rows)
        dataset.shapes = None
        _, plain_losses, plain_gradient = loss_and_gradient(rows)
        assert losses.shape == (len(rows),)
        assert torch.allclose(losses, plain_losses, rtol=1e-5)
        assert torch.allclose(gradient, plain_gradient, rtol=1e-4, atol=1e-6)
    assert len(seen) == 2
    assert filled == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # the compiler's own
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler, g++")
@pytest.mark.parametrize("packing", [False, True])
def test_a_compiled_model_learns_the_same_and_compiles_each_shape_once(folder: Path, packing: bool) -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    few = {"batch_shapes": 2}
    plain = train(folder, {"packing": packing}, few)
    losses, scores = train(folder, {"packing": packing, "torch_compile": True}, few)
    assert losses == pytest.approx(plain[0], rel=1e-3)
    assert scores == pytest.approx(plain[1], rel=1e-3)
    # One shape in training and one in evaluation, or two of each.
    shapes = 2 if packing else 4
    assert 1 <= torch._dynamo.utils.counters["stats"]["unique_graphs"] <= shapes
    assert not torch._dynamo.utils.counters["graph_break"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # the compiler's own
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # which it hides otherwise
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler, g++")
def test_regularisers_are_the_same_in_a_compiled_model(folder: Path) -> None:
    torch._dynamo.reset()
    values = {"r_drop": 1.0, "fgm": 0.5, "fgm_radius": 0.3, "awp": 0.5, "awp_radius": 0.02, "smart": 50.0}
    options = {"packing": True, "regularization": Regularization(**values, smart_radius=0.02, smart_step=0.02)}
    plain, scores = train(folder, options)
    losses, others = train(folder, options | {"torch_compile": True})
    assert losses == pytest.approx(plain, rel=1e-3)
    assert others == pytest.approx(scores, rel=1e-2)
