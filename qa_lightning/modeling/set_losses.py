"""The losses of each of several training sets, summed up on the device until they are logged."""

from __future__ import annotations

import lightning.pytorch as pl
import torch
from torch import Tensor

from qa_lightning.records import Batch


class SetLosses:
    """The mean loss of each training set's windows since it was logged last, over all processes.

    Sums stay on the device, so that no step waits for them; where there is one set only, nothing is computed.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._sums: Tensor | None = None
        self._begun_at = 0

    def add(self, batch: Batch, losses: Tensor, labelled: Tensor, step: int) -> None:
        """Adds the windows of a batch.

        Args:
            batch: The batch.
            losses: The loss of each window; floating point ``[batch]``.
            labelled: How much each counts; ``[batch]``.
            step: Steps of the optimizer before this batch.
        """
        if batch.sets is None:
            return
        self._names = list(batch.sets)
        columns = torch.stack([losses.detach().float(), labelled.float()])
        sums = torch.stack([of_set.sum(1) for of_set in columns.split(list(batch.sets.values()), dim=1)])
        self._begun_at = step if self._sums is None else self._begun_at
        self._sums = sums if self._sums is None else self._sums + sums

    def take(self, trainer: pl.Trainer) -> dict[str, float]:
        """Takes the means by set, of those that were seen, after each step that is logged; after others, none."""
        step = trainer.global_step
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if self._sums is None or not every or step % every or step == self._begun_at:
            return {}
        sums: Tensor = trainer.strategy.reduce(self._sums, reduce_op="sum")
        self._sums = None
        return {name: loss / count for name, (loss, count) in zip(self._names, sums.tolist(), strict=True) if count}
