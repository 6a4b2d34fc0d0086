"""Weights & Biases watches gradients and weights, offline, and leaves nothing behind."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
from lightning.pytorch.loggers import WandbLogger

from qa_lightning.callbacks.wandb_watch import WandbWatch
from qa_lightning.utils.errors import UserError
from tests.offline_wandb import OfflineRun, read_offline_run
from tests.tiny import tiny_folder
from tests.training import StopAt, make_data, make_module, make_trainer, trains, write_long

pytestmark = trains


@pytest.fixture(autouse=True)
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A W&B that keeps to this folder and to itself."""
    import wandb

    for name, value in {"MODE": "offline", "SILENT": "true", "CONSOLE": "off"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    for kind in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"WANDB_{kind}_DIR", str(tmp_path / "wandb-home"))
    yield
    wandb.teardown()


def watched(tmp_path: Path, *callbacks: pl.Callback, **options: Any) -> tuple[OfflineRun, Any]:
    """Five steps, what W&B has of them, and the module."""
    import wandb

    model, squad = tiny_folder(tmp_path / "model"), write_long(tmp_path / "squad.json")
    module = make_module(model)
    logger = WandbLogger(project="test", save_dir=str(tmp_path))
    trainer = make_trainer(tmp_path / "run", *callbacks, logger=logger, log_every_n_steps=1, **options)
    try:
        trainer.fit(module, make_data(model, train=squad))
    finally:
        wandb.finish()
        wandb.teardown()
    return read_offline_run(tmp_path), module


def rows_with(run: OfflineRun, prefix: str) -> list[dict[str, Any]]:
    """The logged rows that hold a histogram of the head's weights below a prefix."""
    names = [name for row in run.history for name in row if name.startswith(prefix) and "qa_outputs.weight" in name]
    return [row for row in run.history if set(names) & set(row)]


def hooks_of(module: Any) -> int:
    hooks = sum(len(submodule._forward_hooks) + len(submodule._backward_hooks) for submodule in module.modules())
    return hooks + sum(len(parameter._backward_hooks or ()) for parameter in module.parameters())


@pytest.mark.parametrize(("log", "kinds"), [("gradients", (True, False)), ("all", (True, True))])
def test_histograms_are_logged_every_so_many_batches(tmp_path: Path, log: Any, kinds: tuple[bool, bool]) -> None:
    run, module = watched(tmp_path, WandbWatch(log=log, log_freq=2))
    for prefix, there in zip(("gradients", "parameters"), kinds, strict=True):
        assert len(rows_with(run, prefix)) == (2 if there else 0)
    assert hooks_of(module) == 0


def test_without_it_nothing_is_watched(tmp_path: Path) -> None:
    run, _ = watched(tmp_path)
    assert not rows_with(run, "gradients")


def test_a_training_that_fails_is_not_watched_any_more(tmp_path: Path) -> None:
    watch = WandbWatch(log="all", log_freq=1)
    seen: list[int] = []

    class Count(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
            seen.append(hooks_of(pl_module))
            self.module = pl_module

    count = Count()
    with pytest.raises(ValueError, match="broken"):
        watched(tmp_path, watch, count, StopAt(ValueError("broken"), 2))
    assert seen[0] > 0
    assert hooks_of(count.module) == 0


def test_another_logger_is_no_obstacle(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model, squad = tiny_folder(tmp_path / "model"), write_long(tmp_path / "squad.json")
    module = make_module(model)
    with caplog.at_level(logging.INFO):
        make_trainer(tmp_path / "run", WandbWatch()).fit(module, make_data(model, train=squad))
    said = [record.getMessage() for record in caplog.records if "WandbWatch" in record.getMessage()]
    assert said == ["WandbWatch has nothing to do: no logger of this run is Weights & Biases'"]
    assert hooks_of(module) == 0


def test_a_frequency_is_a_positive_number() -> None:
    with pytest.raises(UserError, match="log_freq of WandbWatch must be at least 1, not 0"):
        WandbWatch(log_freq=0)
