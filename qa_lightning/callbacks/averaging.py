"""Averages of the weights over a training: an exponential one, and corrections of Lightning's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import StochasticWeightAveraging, WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from qa_lightning.utils.errors import UserError


class ExponentialMovingAverage(WeightAveraging):
    """Validates and saves an exponential moving average of the weights, which often scores better than the last ones.

    After each step of the optimizer the average moves to ``decay * average + (1 - decay) * weights``; after the first
    one it is the weights. So it is, roughly, of the last ``1 / (1 - decay)`` steps. It is of the parameters; buffers,
    such as position ids, are those of the model. It stays in single precision where the model is in half.

    Validations score the average and ``best_model/`` holds it; it is the ``state_dict`` of checkpoints, beside which
    ``current_model_state`` is what training goes on with.

    Args:
        decay: How much of the average stays at each step; between 0 and 1.

    Raises:
        UserError: Where ``decay`` is not between 0 and 1.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 < decay < 1:
            raise UserError(f"ema_decay must lie between 0 and 1, such as 0.999, not {decay}")
        super().__init__(use_buffers=False)
        self.decay = decay
        self._average_model: _Average | None = None
        self._weights_in_training: list[Tensor] | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Begins the average, on the device that the model will be on."""
        if stage == "fit":
            self._average_model = _Average(pl_module, trainer.strategy.root_device, self.decay)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts the average in the place of the weights, which are kept, so that an interruption loses neither."""
        if self._average_model is not None:
            self._weights_in_training = [weights.detach().clone() for weights in pl_module.parameters()]
            _copy(self._average_model.module.parameters(), pl_module.parameters())

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts the weights back."""
        if self._weights_in_training is not None:
            _copy(self._weights_in_training, pl_module.parameters())
            self._weights_in_training = None

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Brings weights and average where they belong, before the checkpoint of an interrupted training is saved."""
        if self._weights_in_training is not None:
            self.on_validation_epoch_end(trainer, pl_module)
        elif trainer.training and self._average_model is not None:
            self.on_train_batch_end(trainer, pl_module, None, None, 0)  # does nothing but after a step of its own

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Takes the average of the training that goes on; that of one without is the weights that it had come to."""
        if self._average_model is None:
            return
        if "averaging_state" in checkpoint:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
        else:
            weights = checkpoint.get("current_model_state", checkpoint["state_dict"])
            self._average_model.module.load_state_dict(weights)


class _Average(AveragedModel):
    """The moving average. Unlike its base class, it never waits for the device, and it may be the more precise."""

    def __init__(self, model: pl.LightningModule, device: torch.device, decay: float) -> None:
        super().__init__(model, device)
        for parameter in self.module.parameters():
            parameter.data = parameter.data.to(torch.promote_types(parameter.dtype, torch.float32))
        self.move = get_ema_multi_avg_fn(decay)
        self._begun: bool | None = None

    @torch.no_grad()
    def update_parameters(self, model: torch.nn.Module) -> None:
        """Moves the average by one step."""
        if self._begun is None:
            self._begun = bool(self.n_averaged > 0)  # which may have been restored
        averages: list[Tensor] = list(self.module.parameters())
        if self._begun:
            weights = [weights.to(averages[i].dtype) for i, weights in enumerate(model.parameters())]
            self.move(averages, weights, 0)
        else:
            _copy(model.parameters(), averages)
        _copy(model.buffers(), self.module.buffers())
        self.n_averaged += 1
        self._begun = True


class SafeAveraging(pl.Callback):
    """Mends what Lightning's own averages do to our models; stands behind them in the trainer's list.

    They would average integer buffers, such as position ids, too; and interrupted in a validation, would save the
    average as the weights and the weights as the average.

    Args:
        callbacks: Lightning's callbacks.
    """

    def __init__(self, callbacks: Iterable[WeightAveraging]) -> None:
        self.callbacks = list(callbacks)
        self._swapped = False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Has buffers copied instead of averaged."""
        for callback in self.callbacks:
            for average in _averages(callback):
                average.use_buffers = False

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Knows that the average stands in the place of the weights."""
        self._swapped = True

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Knows that it no longer does."""
        self._swapped = False

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Swaps them back, before the checkpoint of an interrupted training is saved."""
        for callback in self.callbacks:
            if _averages(callback) and self._swapped:
                callback.on_validation_epoch_end(trainer, pl_module)
            elif _averages(callback) and trainer.training:
                callback.on_train_batch_end(trainer, pl_module, None, None, 0)
        self._swapped = False


def averaging_callbacks(callbacks: Iterable[pl.Callback], ema_decay: float | None) -> list[pl.Callback]:
    """What a training needs for the averages that its config asks for.

    Args:
        callbacks: Those that the config names.
        ema_decay: The decay of `ExponentialMovingAverage`; None: there is none.

    Raises:
        UserError: Where more than one average is asked for, since each would take the other's place.
    """
    averages = [callback for callback in callbacks if isinstance(callback, WeightAveraging | StochasticWeightAveraging)]
    names = [f"trainer.callbacks: {type(average).__name__}" for average in averages]
    names += [] if ema_decay is None else ["ema_decay"]
    if len(names) > 1:
        raise UserError(f"a training can average its weights in one way only: keep one of {', '.join(names)}")
    if ema_decay is not None:
        return [ExponentialMovingAverage(ema_decay)]
    theirs = [
        average
        for average in averages
        if isinstance(average, WeightAveraging) and not isinstance(average, ExponentialMovingAverage)
    ]
    return [SafeAveraging(theirs)] if theirs else []


def _averages(callback: WeightAveraging) -> list[AveragedModel]:
    """The averaged models that a callback has made for itself, which it does when a training begins."""
    return [value for value in vars(callback).values() if isinstance(value, AveragedModel)]


@torch.no_grad()
def _copy(sources: Iterable[Tensor], targets: Iterable[Tensor]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.copy_(source)
