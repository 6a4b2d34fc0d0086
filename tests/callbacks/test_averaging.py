"""Averages of the weights: their values, and that what is validated is what is saved and gone on with."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, StochasticWeightAveraging, WeightAveraging
from torch import Tensor

from qa_lightning import Reader
from qa_lightning.callbacks.averaging import ExponentialMovingAverage, SafeAveraging, averaging_callbacks
from qa_lightning.callbacks.checkpoint import RunCheckpoint
from qa_lightning.callbacks.final_validation import FinalValidation
from qa_lightning.callbacks.results import Results
from qa_lightning.cli.main import main
from qa_lightning.modeling.module import QALightningModule
from qa_lightning.utils.errors import UserError
from tests.callbacks.test_checkpoint import _interruptible as _interruptible  # a fixture
from tests.commands import run_command
from tests.tiny import fit_arguments
from tests.training import (
    SETTINGS,
    StopAt,
    Watch,
    make_data,
    make_module,
    make_trainer,
    script_scores,
    trains,
)

pytestmark = [*trains, pytest.mark.usefixtures("_interruptible")]

STEPS = 7
"""Of an epoch."""


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def fit(
    model: Path, squad: Path, run: Path, *callbacks: pl.Callback, f1: tuple[float, ...] = (), **options: Any
) -> pl.Trainer:
    """Trains at a rate at which each step's weights answer otherwise."""
    pl.seed_everything(0, verbose=False)
    checkpoint = options.pop("checkpoint", None) or RunCheckpoint()
    path = options.pop("resume", None)
    module = make_module(model, learning_rate=0.02, lr_scheduler_type="constant")
    if f1:
        script_scores(module, *f1)
    data = make_data(model, train=squad, batch_size=3, validation_file=str(squad))
    defaults = {"max_epochs": 2, "num_sanity_val_steps": 0}
    trainer = make_trainer(run, *callbacks, FinalValidation(), checkpoint, **defaults | options)
    trainer.fit(module, data, ckpt_path=path, weights_only=True)
    return trainer


def read_scores(source: Path, squad: Path, folder: Path) -> dict[str, Any]:
    """What a model folder or a checkpoint scores on its own, without the times."""
    module = make_module(source, tokenizer_name=str(source), null_score_diff_threshold=0.0)
    trainer = make_trainer(folder, Results())
    trainer.validate(module, make_data(source, batch_size=3, validation_file=str(squad)), verbose=False)
    return without_time(read(folder / "metrics.json"))


def without_time(metrics: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metrics.items() if key not in ("epoch", "step")}


def assert_saved_is_what_was_scored(run: Path, squad: Path, folder: Path) -> None:
    expected = without_time(read(run / "metrics.json"))
    assert read_scores(run / "best_model", squad, folder / "model") == expected
    assert read_scores(run / "checkpoints/best.ckpt", squad, folder / "checkpoint") == expected
    reader, checkpoint = (
        Reader.from_pretrained(run / "best_model"),
        Reader.from_pretrained(run / "checkpoints/best.ckpt"),
    )
    question = {"question": "Who wrote the program?", "context": "Ada wrote the first program in London."}
    assert reader(**question) == checkpoint(**question)


@pytest.fixture(scope="module")
def plain(model: Path, squad: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """The weights of a training without any average."""
    return fit(model, squad, tmp_path_factory.mktemp("plain")).lightning_module.state_dict()


def last(run: Path) -> dict[str, Any]:
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


# Any callback that swaps weights


class Swaps(pl.Callback):
    """Has other weights validated than those that are trained, between two hooks of the validation."""

    def __init__(self, start: str, end: str) -> None:
        self.kept: list[Tensor] = []
        setattr(self, start, self.swap)
        setattr(self, end, self.swap_back)

    @torch.no_grad()
    def swap(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self.kept = [weights.clone() for weights in pl_module.parameters()]
        for number, weights in enumerate(pl_module.parameters()):
            weights.mul_(1 + 0.1 * (number % 3)).add_(0.01)

    @torch.no_grad()
    def swap_back(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        for weights, kept in zip(pl_module.parameters(), self.kept, strict=True):
            weights.copy_(kept)


HOOKS = [
    (f"on_validation_{start}", f"on_validation_{end}")
    for start, end in itertools.product(("start", "epoch_start"), ("epoch_end", "end"))
]


@pytest.mark.parametrize("hooks", HOOKS)
@pytest.mark.parametrize("first", [True, False])
def test_what_is_saved_is_what_was_scored_whoever_swaps_weights(
    model: Path, squad: Path, run: Path, plain: dict[str, Tensor], hooks: tuple[str, str], first: bool
) -> None:
    swaps = [Swaps(*hooks), Results()]
    trained = fit(model, squad, run, *(swaps if first else swaps[::-1])).lightning_module
    assert same(trained.state_dict(), plain)
    assert_saved_is_what_was_scored(run, squad, run)


def test_training_goes_on_from_the_weights_that_were_swapped_out(model: Path, squad: Path, run: Path) -> None:
    straight = fit(model, squad, run.with_name("straight"), Swaps(*HOOKS[-2])).lightning_module
    fit(model, squad, run, Swaps(*HOOKS[-2]), Results(), max_epochs=1)
    best = run / "checkpoints/best.ckpt"
    gone_on = fit(model, squad, run, Swaps(*HOOKS[-2]), Results(), resume=best).lightning_module
    assert same(gone_on.state_dict(), straight.state_dict())


# The moving average


class Naive(pl.Callback):
    """The average as its formula says, after each step of the optimizer."""

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.average: list[Tensor] = []
        self.step = 0

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if trainer.global_step == self.step:
            return
        self.step = trainer.global_step
        weights = [weights.detach().double().clone() for weights in pl_module.parameters()]
        pairs = zip(self.average or weights, weights, strict=True)
        self.average = [self.decay * average + (1 - self.decay) * new for average, new in pairs]


@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 4}, {"val_check_interval": 2}])
def test_the_average_is_the_formulas(model: Path, squad: Path, run: Path, options: dict[str, Any]) -> None:
    average, naive = ExponentialMovingAverage(0.7), Naive(0.7)
    trainer = fit(model, squad, run, average, naive, **options)
    assert naive.step == trainer.global_step == (4 if "accumulate_grad_batches" in options else 2 * STEPS)
    for value, expected in zip(trainer.lightning_module.parameters(), naive.average, strict=True):
        torch.testing.assert_close(value.double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("average", [ExponentialMovingAverage, EMAWeightAveraging])
def test_buffers_are_not_averaged(model: Path, squad: Path, run: Path, average: type[WeightAveraging]) -> None:
    def shift(trainer: pl.Trainer, pl_module: Any) -> None:
        pl_module.model.bert.embeddings.token_type_ids += 1

    def averaged(trainer: pl.Trainer, pl_module: Any) -> list[Tensor]:
        embeddings = callback._average_model.module.model.bert.embeddings
        return [embeddings.position_ids.clone(), embeddings.token_type_ids.clone()]

    callback = average(decay=0.9)
    safe = averaging_callbacks([callback], None)
    watch = Watch(averaged)
    fit(model, squad, run, Watch(shift), callback, *safe, watch, max_epochs=4, limit_val_batches=0)
    positions, types = (torch.stack(values) for values in zip(*watch.seen, strict=True))
    assert torch.equal(positions[-1, 0], torch.arange(64))
    assert torch.equal(types[:, 0, 0], torch.arange(1, len(types) + 1))


@pytest.mark.parametrize(
    "average", [lambda: ExponentialMovingAverage(0.8), lambda: EMAWeightAveraging(decay=0.8), WeightAveraging]
)
@pytest.mark.parametrize("first", [True, False])
def test_what_is_saved_is_the_average_that_was_scored(
    model: Path, squad: Path, run: Path, plain: dict[str, Tensor], average: Any, first: bool
) -> None:
    callback = average()
    own = [Results(), *averaging_callbacks([callback], None)]
    trainer = fit(model, squad, run, *([callback, *own] if first else [Results(), callback, *own[1:]]))
    assert not same(trainer.lightning_module.state_dict(), plain)
    assert same(last(run)["current_model_state"], plain)
    assert same(last(run)["state_dict"], trainer.lightning_module.state_dict())
    assert_saved_is_what_was_scored(run, squad, run)


def test_checkpoints_without_a_training_hold_the_average_too(model: Path, squad: Path, run: Path) -> None:
    checkpoint = RunCheckpoint(save_weights_only=True)
    fit(model, squad, run, ExponentialMovingAverage(0.8), Results(), checkpoint=checkpoint)
    assert_saved_is_what_was_scored(run, squad, run)
    best = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    assert "current_model_state" not in best


@pytest.fixture(scope="module")
def uninterrupted(model: Path, squad: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """Trains with an average in one go, with the same options once; gives what is saved in the end."""

    @functools.cache
    def trained(average: type[WeightAveraging], **options: Any) -> dict[str, Any]:
        run, callback = tmp_path_factory.mktemp("straight"), average(decay=0.8)
        fit(model, squad, run, callback, *averaging_callbacks([callback], None), Results(), **options)
        return last(run)

    return trained


ENDS: list[tuple[StopAt, dict[str, Any]]] = [
    (StopAt(KeyboardInterrupt(), 2), {}),
    (StopAt(KeyboardInterrupt(), STEPS), {}),
    (StopAt(KeyboardInterrupt(), STEPS, in_validation=True), {}),
    (StopAt(KeyboardInterrupt(), 4, in_validation=True), {"val_check_interval": 2}),
    (StopAt(KeyboardInterrupt(), 1), {"accumulate_grad_batches": 2}),
    (StopAt(ValueError("killed"), STEPS + 2), {}),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stop", "options", "average", "first"),
    [
        (stop, options, average, (row + column) % 2 == 0)
        for row, (stop, options) in enumerate(ENDS)
        for column, average in enumerate([ExponentialMovingAverage, EMAWeightAveraging])
    ],
)  # whether what stops comes first is a matter of its own
def test_training_that_goes_on_has_the_same_average(
    model: Path,
    squad: Path,
    run: Path,
    stop: StopAt,
    options: dict[str, Any],
    average: type[WeightAveraging],
    first: bool,
    uninterrupted: Callable[..., dict[str, Any]],
) -> None:
    def callbacks() -> list[pl.Callback]:
        callback = average(decay=0.8)
        return [callback, *averaging_callbacks([callback], None), Results()]

    parts = [stop, *callbacks()] if first else [*callbacks(), stop]
    with pytest.raises((SystemExit, ValueError)):
        fit(model, squad, run, *parts, **options)
    fit(model, squad, run, *callbacks(), resume=run / "checkpoints/last.ckpt", **options)
    whole, resumed = uninterrupted(average, **options), last(run)
    for key in ("state_dict", "current_model_state", "averaging_state"):
        assert same(whole[key], resumed[key]), key
    assert_saved_is_what_was_scored(run, squad, run)


@pytest.mark.parametrize("name", ["best", "last"])
def test_training_with_an_average_goes_on_after_its_end(model: Path, squad: Path, run: Path, name: str) -> None:
    straight = fit(model, squad, run.with_name("straight"), ExponentialMovingAverage(0.8), max_epochs=3)
    fit(model, squad, run, ExponentialMovingAverage(0.8), Results(), f1=(10, 20), max_epochs=2)
    path = run / f"checkpoints/{name}.ckpt"
    gone_on = fit(model, squad, run, ExponentialMovingAverage(0.8), Results(), f1=(30,), resume=path, max_epochs=3)
    assert same(gone_on.lightning_module.state_dict(), straight.lightning_module.state_dict())


@pytest.mark.filterwarnings("ignore:.*callbacks used to create the checkpoint need to be provided")
def test_an_average_begins_in_a_training_without_one_and_is_left_again(model: Path, squad: Path, run: Path) -> None:
    straight = fit(model, squad, run.with_name("straight"), max_epochs=3).lightning_module.state_dict()
    fit(model, squad, run, max_epochs=1)
    fit(model, squad, run, ExponentialMovingAverage(0.8), resume=run / "checkpoints/last.ckpt")
    assert not same(last(run)["state_dict"], last(run)["current_model_state"])
    gone_on = fit(model, squad, run, resume=run / "checkpoints/last.ckpt", max_epochs=3)
    assert same(gone_on.lightning_module.state_dict(), straight)


def test_the_average_of_half_precision_is_kept_in_single(model: Path, squad: Path, run: Path) -> None:
    """Steps of a thousandth would be lost in bfloat16; and a validation must not round the average."""
    average, naive = ExponentialMovingAverage(0.999), Naive(0.999)
    fit(model, squad, run, average, naive, Results(), precision="bf16-true", val_check_interval=1)
    for value, expected in zip(average._average_model.module.parameters(), naive.average, strict=True):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.double(), expected, atol=1e-5, rtol=1e-5)
    saved = QALightningModule.load_from_checkpoint(run / "checkpoints/best.ckpt").state_dict()
    folder = make_module(run / "best_model").state_dict()
    assert all(torch.equal(saved[name].bfloat16(), folder[name].bfloat16()) for name in saved)


# Refusals


def test_one_average_at_a_time() -> None:
    swa, ema = StochasticWeightAveraging(1e-3), EMAWeightAveraging()
    with pytest.raises(UserError, match=r"keep one of trainer\.callbacks: StochasticWeightAveraging, ema_decay"):
        averaging_callbacks([swa], 0.9)
    with pytest.raises(UserError, match=r"keep one of .*StochasticWeightAveraging, trainer.*EMAWeightAveraging"):
        averaging_callbacks([swa, ema], None)
    assert averaging_callbacks([swa], None) == []
    assert [type(callback) for callback in averaging_callbacks([ema], None)] == [SafeAveraging]


@pytest.mark.parametrize("decay", ["0", "1", "-0.5", "1.5"])
def test_a_decay_that_is_none(
    model: Path, squad: Path, tmp_path: Path, decay: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*fit_arguments(str(model), str(squad), str(squad)), "--run_dir", str(tmp_path / "run")]
    assert main([*arguments, "--ema_decay", decay]) != 0
    assert f"error: ema_decay must lie between 0 and 1, such as 0.999, not {float(decay)}" in capsys.readouterr().err


# Whole commands

AVERAGES = {
    "ema_decay": "ema_decay: 0.8",
    "ema": "trainer: {callbacks: [{class_path: EMAWeightAveraging, init_args: {decay: 0.8}}]}",
    "late": "trainer: {callbacks: {class_path: EMAWeightAveraging, init_args: {update_starting_at_step: 3}}}",
    "swa": "trainer: {callbacks: [{class_path: StochasticWeightAveraging, init_args: {swa_lrs: 0.01}}]}",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", AVERAGES)
def test_averages_from_a_config(model: Path, squad: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "average.yaml").write_text(AVERAGES[name])
    run = tmp_path / "run"
    settings = [item for key, value in SETTINGS.items() for item in (f"--data.{key}", str(value).lower())]
    arguments = [*fit_arguments(str(model), str(squad), str(squad)), *settings, "--model.learning_rate", "0.02"]
    arguments += ["--data.batch_size", "3", "--trainer.max_epochs", "3", "--run_dir", str(run)]
    assert main([arguments[0], "--config", str(tmp_path / "average.yaml"), *arguments[1:]]) == 0
    assert_saved_is_what_was_scored(run, squad, tmp_path)
    for checkpoint in ("best", "last"):
        assert main(["validate", "--run_dir", str(run), "--ckpt_path", checkpoint]) == 0
        if checkpoint == "best":
            assert without_time(read(run / "validate/metrics.json")) == without_time(read(run / "metrics.json"))
    assert main(["fit", "--run_dir", str(run), "--ckpt_path", "last", "--trainer.max_epochs", "4"]) == 0
    assert_saved_is_what_was_scored(run, squad, tmp_path / "more")


@pytest.mark.slow
def test_two_processes_have_one_average(model: Path, squad: Path, tmp_path: Path) -> None:
    straight, run = tmp_path / "straight", tmp_path / "run"
    settings = [item for key, value in SETTINGS.items() for item in (f"--data.{key}", str(value).lower())]
    arguments = [*fit_arguments(str(model), str(squad), str(squad)), *settings, "--ema_decay", "0.8"]
    arguments += ["--model.learning_rate", "0.02", "--model.lr_scheduler_type", "constant", "--data.batch_size", "3"]
    arguments += ["--trainer.max_epochs", "3", "--trainer.strategy", "ddp", "--trainer.devices", "2"]
    run_command(*arguments, "--trainer.max_steps", "6", "--run_dir", str(straight))
    run_command(*arguments, "--trainer.max_steps", "2", "--run_dir", str(run))
    run_command("fit", "--run_dir", str(run), "--ckpt_path", "last", "--trainer.max_steps", "6")
    uninterrupted, resumed = last(straight), last(run)
    assert uninterrupted["global_step"] == resumed["global_step"] == 6
    for key in ("state_dict", "current_model_state", "averaging_state"):
        assert same(uninterrupted[key], resumed[key]), key
    expected = without_time(read(run / "metrics.json"))
    rough = {key for key in expected if key.endswith(("loss", "thresh"))}
    for source in ("best_model", "checkpoints/best.ckpt"):
        scores = read_scores(run / source, squad, tmp_path / "alone")
        assert {key: value for key, value in scores.items() if key not in rough} == {
            key: value for key, value in expected.items() if key not in rough
        }
        assert scores["val/loss"] == pytest.approx(expected["val/loss"], abs=1e-5)
