"""Unfreezes a network from the top, layer by layer (Howard and Ruder 2018, "Universal Language Model Fine-tuning")."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import nn
from torch.optim import Optimizer

from qa_lightning.modeling.layers import find_layers


class GradualUnfreezing(pl.Callback):
    """Trains the head alone at first, then one more layer after each so many steps or epochs; at last the embeddings.

    What is trained follows from the number of steps or epochs alone, so a training that resumes needs nothing else.
    On one device, no gradients are computed for what is frozen. Several processes agreed at the start on the gradients
    that they exchange: there, those of what is frozen are computed and dropped before the step, to the same weights.

    Args:
        steps: After how many steps of the optimizer; 0: by epochs.
        epochs: After how many epochs; 0: by steps.
    """

    def __init__(self, steps: int = 0, epochs: int = 0) -> None:
        self.steps = steps
        self.epochs = epochs
        self._by_depth: dict[int, list[nn.Parameter]] = {}
        self._frozen: list[nn.Parameter] = []
        self._stage: int | None = None
        self._drops_gradients = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Finds the parameters of each layer that are to be trained at any time."""
        self._drops_gradients = not isinstance(trainer.strategy, SingleDeviceStrategy)
        depths = find_layers(pl_module.model).depths
        self._by_depth = {}
        for name, parameter in pl_module.model.named_parameters():
            if parameter.requires_grad:
                self._by_depth.setdefault(depths[name], []).append(parameter)
        self._stage = None

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Freezes what this step does not train."""
        stage = trainer.global_step // self.steps if self.steps else trainer.current_epoch // self.epochs
        if stage != self._stage and self._by_depth:
            self._stage = stage
            self._freeze_below(max(self._by_depth) - stage)

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: Optimizer) -> None:
        """Drops the gradients of what is frozen, where they were computed."""
        for parameter in self._frozen:
            parameter.grad = None

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Leaves nothing frozen."""
        self._freeze_below(0)

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Leaves nothing frozen."""
        self._freeze_below(0)

    def _freeze_below(self, lowest: int) -> None:
        """Freezes the parameters below a depth, and no others."""
        self._frozen = [p for depth, parameters in self._by_depth.items() if depth < lowest for p in parameters]
        if not self._drops_gradients:
            for depth, parameters in self._by_depth.items():
                for parameter in parameters:
                    parameter.requires_grad_(depth >= lowest)
