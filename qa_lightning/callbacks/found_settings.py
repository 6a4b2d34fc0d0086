"""Applies a batch size or a learning rate that was searched for to the schedule and the saved config."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder

FINDERS = (BatchSizeFinder, LearningRateFinder)
"""Callbacks that search for a setting before a training."""


class FoundSettings(pl.Callback):
    """Makes a training use what Lightning's finders found before it, and has that written down.

    By themselves, the schedule would go on from the learning rate that was asked for, and end where training would
    have ended with the batch size that was asked for.

    Args:
        data: The data module.
        write: Is given what was found: name → value for ``model`` and for ``data``.
    """

    def __init__(self, data: pl.LightningDataModule, write: Callable[[dict[str, dict[str, Any]]], None]) -> None:
        self.data = data
        self.write = write
        self._written: dict[str, dict[str, Any]] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Makes optimizer and schedule anew, and writes, where something was found."""
        if self._found(pl_module):
            trainer.strategy.setup_optimizers(trainer)
        self._write(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes what a finder that searches between epochs found."""
        self._write(trainer, pl_module)

    def _write(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        found = self._found(pl_module)
        if found != self._written and trainer.is_global_zero:
            self.write(found)
        self._written = found

    def _found(self, pl_module: pl.LightningModule) -> dict[str, dict[str, Any]]:
        parts = {"model": _changed(pl_module), "data": _changed(self.data)}
        return {name: values for name, values in parts.items() if values}


def _changed(part: pl.LightningModule | pl.LightningDataModule) -> dict[str, Any]:
    """The hyperparameters that are others than those that a part was made with."""
    before = part.hparams_initial
    return {name: value for name, value in part.hparams.items() if name in before and value != before[name]}
