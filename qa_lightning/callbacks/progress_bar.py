"""A progress bar that a GPU is not waited for at every step."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import RichProgressBar

SECONDS = 0.5
"""How old the values beside the bar may be: each look at them waits for the device that computes them."""


class ProgressBar(RichProgressBar):
    """Lightning's rich progress bar, which reads the logged values twice a second instead of after each batch."""

    def __init__(self) -> None:
        super().__init__()
        self._read_at = float("-inf")
        self._metrics: dict[str, Any] = {}

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """The values beside the bar, without the version of the logger's folder."""
        now = time.monotonic()
        if now - self._read_at >= SECONDS:
            self._metrics = {**super().get_metrics(trainer, pl_module)}
            self._metrics.pop("v_num", None)
            self._read_at = now
        return self._metrics

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Shows the epoch's own values in the end."""
        self._read_at = float("-inf")
        super().on_train_epoch_end(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Shows the scores of the validation."""
        self._read_at = float("-inf")
        super().on_validation_end(trainer, pl_module)
