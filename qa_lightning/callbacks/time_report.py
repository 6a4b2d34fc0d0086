"""Measures and prints where the time of a training went."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.profilers import Profiler

from qa_lightning.records import Batch

REST = "the rest"

PARTS = {
    "train_dataloader_next": "training: data",
    "training_step": "training: forward",
    "backward": "training: backward",
    "optimizer_step": "training: optimizer",
    "val_next": "validation: data",
    "validation_step": "validation: model",
    "decoding": "validation: decoding",
    "scoring": "validation: scoring",
    "on_validation_epoch_end": "validation: scoring",
    "on_validation_end": "validation: files",
    "save_checkpoint": "checkpoints",
}
"""What Lightning and our module call a piece of work, and the part of the time that it counts to.

Pieces within it that have no part of their own count to it, too.
"""


class Stopwatch(Profiler):
    """A profiler of Lightning that counts each moment to the innermost part it falls into.

    On a GPU, whose work is queued, a part is charged with what it waits for.

    Attributes:
        seconds: The time of each part so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = defaultdict(float)
        self._running: list[str] = []
        self._since = 0.0

    def start(self, action_name: str) -> None:
        """Begins a piece of work."""
        self._charge()
        around = self._running[-1] if self._running else REST
        self._running.append(PARTS.get(action_name.rpartition(".")[2], around))

    def stop(self, action_name: str) -> None:
        """Ends the piece of work that began last."""
        self._charge()
        self._running.pop()

    def _charge(self) -> None:
        now = time.perf_counter()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now


class TimeReport(pl.Callback):
    """Prints, when a training is over, how its time was spent, and how many tokens it saw in a second.

    Attributes:
        stopwatch: What the trainer must have as its profiler.
    """

    def __init__(self) -> None:
        self.stopwatch = Stopwatch()
        self._tokens: Any = 0
        self._positions = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Counts a batch's tokens, where they are."""
        mask = batch.inputs["attention_mask"]
        self._tokens = self._tokens + torch.count_nonzero(mask[: len(batch)])
        self._positions += batch.positions

    def show(self) -> None:
        """Prints the table; nothing where no step was made or another profiler was at work."""
        from rich.console import Console
        from rich.table import Table

        seconds = self.stopwatch.seconds
        total = sum(seconds.values())
        if not total or not self._positions:
            return
        table = Table("part", "seconds", "share", title="Where the time went")
        for column in table.columns[1:]:
            column.justify = "right"
        for part in dict.fromkeys([*PARTS.values(), REST]):
            if part in seconds:
                table.add_row(part, f"{seconds[part]:,.1f}", f"{seconds[part] / total:.1%}")
        training = sum(spent for part, spent in seconds.items() if part.startswith("training"))
        tokens = int(self._tokens)
        console = Console()
        console.print(table)
        console.print(
            f"Trained on {tokens / training:,.0f} tokens in a second; {1 - tokens / self._positions:.1%} of what the "
            "model was given was padding",
            highlight=False,
        )
