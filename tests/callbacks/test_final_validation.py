"""A training ends with a validation of its last weights, wherever it ends, and with one only."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, StochasticWeightAveraging, Timer

from qa_lightning.callbacks.averaging import ExponentialMovingAverage
from qa_lightning.callbacks.checkpoint import RunCheckpoint
from qa_lightning.callbacks.final_validation import FinalValidation
from qa_lightning.callbacks.results import Results
from qa_lightning.cli.main import main
from tests.callbacks.test_checkpoint import _interruptible as _interruptible  # a fixture
from tests.tiny import fit_arguments
from tests.training import SETTINGS, StopAt, Watch, make_data, make_module, make_trainer, trains

pytestmark = [*trains, pytest.mark.usefixtures("_interruptible")]

STEPS = 5
"""Of an epoch."""


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


class Validations(pl.Callback):
    """The step of each validation."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.steps.append(trainer.global_step)


def fit(model: Path, squad: Path, run: Path, *callbacks: pl.Callback, **options: Any) -> tuple[pl.Trainer, list[int]]:
    """Trains, watching the loss, which each step makes smaller; returns the steps of the validations, too."""
    pl.seed_everything(0, verbose=False)
    path = options.pop("resume", None)
    files = {"validation_file": str(squad)} if options.pop("validate", True) else {}
    module = make_module(model, learning_rate=1e-3, lr_scheduler_type="constant")
    seen = Validations()
    watch = ("val/loss", "min")
    parts = [*callbacks, seen, Results(*watch), FinalValidation(), RunCheckpoint(*watch)]
    trainer = make_trainer(run, *parts, **{"max_epochs": 3, "num_sanity_val_steps": 0} | options)
    trainer.fit(module, make_data(model, train=squad, **files), ckpt_path=path, weights_only=True)
    return trainer, seen.steps


class StopsAfter(pl.Callback):
    """Asks for the end of training, after a step or in an epoch's end."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            trainer.should_stop = True


class StopsAfterEpoch(StopsAfter):
    """The same, in an epoch's end."""

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Not yet."""

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        super().on_train_batch_end(trainer)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"max_steps": 3}, [3]),
        ({"max_steps": 8}, [5, 8]),
        ({"max_steps": 5}, [5]),
        ({"max_steps": 8, "max_epochs": -1}, [5, 8]),
        ({"max_steps": 3, "val_check_interval": 2}, [2, 3]),
        ({"max_steps": 4, "val_check_interval": 2}, [2, 4]),
        ({"max_steps": 8, "check_val_every_n_epoch": 2}, [8]),
        ({"max_steps": 3, "min_epochs": 2}, [3]),
        ({"max_epochs": 1, "val_check_interval": 2}, [2, 4, 5]),
        ({"max_epochs": 3, "check_val_every_n_epoch": 2}, [10, 15]),
        ({"max_epochs": 4, "check_val_every_n_epoch": 2}, [10, 20]),
        ({"max_epochs": 2, "check_val_every_n_epoch": None, "val_check_interval": 7}, [7, 10]),
        ({"max_epochs": 2, "val_check_interval": "01:00:00:00"}, [10]),
        ({"max_epochs": 2, "limit_train_batches": 3}, [3, 6]),
        ({"max_epochs": 2, "accumulate_grad_batches": 2, "max_steps": 4}, [3, 4]),
        ({"max_epochs": 2}, [5, 10]),
        ({"callbacks": (StopsAfter(3),)}, [3]),
        ({"callbacks": (StopsAfter(6),), "check_val_every_n_epoch": 3}, [6]),
        ({"callbacks": (StopsAfter(6),), "check_val_every_n_epoch": 3, "min_epochs": 2}, [10]),
        ({"callbacks": (StopsAfterEpoch(5),), "check_val_every_n_epoch": 2}, [5]),
        ({"callbacks": (Timer(timedelta(microseconds=1)),), "check_val_every_n_epoch": 2}, [1]),
        ({"max_time": timedelta(microseconds=1), "check_val_every_n_epoch": 2}, [1]),
        ({"callbacks": (EarlyStopping("val/loss", min_delta=9, patience=1),), "max_epochs": 9}, [5, 10]),
    ],
)
def test_the_last_weights_are_validated_once(
    model: Path, squad: Path, run: Path, options: dict[str, Any], steps: list[int]
) -> None:
    options = dict(options)
    trainer, seen = fit(model, squad, run, *options.pop("callbacks", ()), **options)
    assert seen == steps
    assert trainer.check_val_every_n_epoch == options.get("check_val_every_n_epoch", 1)
    assert read(run / "metrics.json")["step"] == steps[-1]
    for name in ("best", "last"):
        assert torch.load(run / f"checkpoints/{name}.ckpt", weights_only=True)["global_step"] == steps[-1]
    saved = make_module(run / "best_model").state_dict()
    assert all(torch.equal(saved[name], value) for name, value in trainer.lightning_module.state_dict().items())


@pytest.mark.parametrize("options", [{"limit_val_batches": 0}, {"validate": False}])
def test_nothing_is_validated_without_validation_data(
    model: Path, squad: Path, run: Path, options: dict[str, Any]
) -> None:
    assert fit(model, squad, run, max_steps=3, **options)[1] == []
    assert not (run / "metrics.json").exists()
    assert (run / "best_model").is_dir()


@pytest.mark.parametrize("options", [{"max_steps": 3}, {"max_epochs": 3, "check_val_every_n_epoch": 2}])
def test_a_finished_training_is_not_validated_again(
    model: Path, squad: Path, run: Path, options: dict[str, Any]
) -> None:
    fit(model, squad, run, **options)
    before = (run / "metrics.json").read_bytes()
    assert fit(model, squad, run, resume=run / "checkpoints/last.ckpt", **options)[1] == []
    assert (run / "metrics.json").read_bytes() == before


@pytest.mark.parametrize("name", ["best", "last"])
@pytest.mark.parametrize("average", [False, True])
def test_training_goes_on_behind_its_end(model: Path, squad: Path, run: Path, name: str, average: bool) -> None:
    def callbacks() -> list[pl.Callback]:
        return [ExponentialMovingAverage(0.5)] * average

    straight, _ = fit(model, squad, run.with_name("straight"), *callbacks(), max_steps=8)
    fit(model, squad, run, *callbacks(), max_steps=3)
    gone_on, seen = fit(model, squad, run, *callbacks(), max_steps=8, resume=run / f"checkpoints/{name}.ckpt")
    assert seen == [5, 8]
    states = straight.lightning_module.state_dict(), gone_on.lightning_module.state_dict()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


class StopsBeforeEpoch(pl.Callback):
    """Interrupts a training that is about to begin an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.current_epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("options", [{"val_check_interval": 2}, {"check_val_every_n_epoch": 3}])
@pytest.mark.parametrize(
    "stop",
    [
        lambda: StopsBeforeEpoch(1),
        lambda: StopsBeforeEpoch(2),
        lambda: StopAt(KeyboardInterrupt(), 10),
        lambda: StopAt(KeyboardInterrupt(), 14),
    ],
    ids=["an epoch is over", "the last but one is over", "its last step", "the last step but one"],
)
def test_interrupted_near_the_end_it_goes_on_to_it(
    model: Path, squad: Path, run: Path, options: dict[str, Any], stop: Any
) -> None:
    straight, _ = fit(model, squad, run.with_name("straight"), **options)
    with pytest.raises(SystemExit):
        fit(model, squad, run, stop(), **options)
    gone_on, seen = fit(model, squad, run, **options, resume=run / "checkpoints/last.ckpt")
    assert gone_on.global_step == 15
    assert seen[-1] == 15
    states = straight.lightning_module.state_dict(), gone_on.lightning_module.state_dict()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_interrupted_in_its_final_validation(model: Path, squad: Path, run: Path) -> None:
    with pytest.raises(SystemExit):
        fit(model, squad, run, StopAt(KeyboardInterrupt(), 15, in_validation=True), check_val_every_n_epoch=2)
    assert fit(model, squad, run, check_val_every_n_epoch=2, resume=run / "checkpoints/last.ckpt")[1] == [15]
    assert read(run / "metrics.json")["step"] == 15


@pytest.mark.filterwarnings("ignore:SWA is currently only supported every epoch")
@pytest.mark.parametrize("steps", [8, 10])
def test_the_average_of_swa_is_validated_and_saved(model: Path, squad: Path, run: Path, steps: int) -> None:
    swa = StochasticWeightAveraging(1e-2, swa_epoch_start=1, annealing_epochs=1)
    last = Watch(lambda _, pl_module: pl_module.model.qa_outputs.weight.detach().clone())
    trainer, seen = fit(model, squad, run, swa, last, max_epochs=2, max_steps=steps)
    assert seen == [5, steps, steps]
    weight = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]["model.qa_outputs.weight"]
    assert torch.equal(weight, last.seen[-1])  # from which training could go on
    average = swa._average_model.state_dict()
    assert all(torch.equal(average[name], value) for name, value in trainer.lightning_module.state_dict().items())


class Ends(pl.Callback):
    """Changes the weights in the end, for better or worse."""

    def __init__(self, model: Path | None) -> None:
        self.model = model

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        other = [torch.zeros_like(value) for value in pl_module.parameters()]
        if self.model is not None:
            other = list(make_module(self.model).parameters())
        with torch.no_grad():
            for weights, value in zip(pl_module.parameters(), other, strict=True):
                weights.copy_(value)


@pytest.mark.parametrize("better", [True, False])
def test_weights_that_are_changed_in_the_end_are_kept_where_they_are_better(
    model: Path, squad: Path, run: Path, better: bool
) -> None:
    fit(model, squad, run.with_name("good"), max_epochs=8)
    end = Ends(run.with_name("good") / "best_model" if better else None)
    trainer, seen = fit(model, squad, run, end, max_epochs=1)
    assert seen == [5, 5]
    final = trainer.lightning_module.state_dict()
    saved = make_module(run / "best_model").state_dict()
    best = torch.load(run / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
    for name, value in final.items():
        assert torch.equal(saved[name], best[name])
        assert torch.equal(saved[name], value) == better or not value.any()


def test_a_command_that_ends_in_mid_epoch(model: Path, squad: Path, run: Path) -> None:
    settings = [item for key, value in SETTINGS.items() for item in (f"--data.{key}", str(value).lower())]
    arguments = [*fit_arguments(str(model), str(squad), str(squad)), *settings, "--run_dir", str(run)]
    assert main([*arguments, "--trainer.max_steps", "3"]) == 0
    assert read(run / "metrics.json")["step"] == 3
    assert (run / "checkpoints/best.ckpt").is_file()
    assert (run / "best_model").is_dir()
