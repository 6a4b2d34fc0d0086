"""Validates the weights that a training ends with, wherever it ends."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl

from qa_lightning.modeling.checkpointing import CheckpointMixin
from qa_lightning.modeling.weights import fingerprint


class FinalValidation(pl.Callback):
    """Has the weights that a training ends with validated, also where it ends between two validations.

    That is so where ``max_steps`` or ``max_time`` is reached in mid-epoch, where fewer batches or epochs than an
    interval of validations are left, and where a callback changes the weights in the end, as stochastic weight
    averaging does. What was validated just now is not validated again. It must stand behind the callbacks that change
    weights, in the trainer's list.
    """

    def __init__(self) -> None:
        self._known: list[list[int]] = []
        self._every_n_epochs: int | None = None

    def state_dict(self) -> dict[str, Any]:
        """By what the weights of the last validation are known, so that training that goes on knows them, too."""
        return {"validated": self._known}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes what the training that goes on has validated."""
        self._known = state_dict["validated"]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Asks for a validation after the last batch: Lightning validates, in its place, where it is asked to stop."""
        if training_ends(trainer):
            trainer.should_stop = True
            self._every_n_epochs = trainer.check_val_every_n_epoch
            trainer.check_val_every_n_epoch = None  # in which epoch this is no longer matters

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Goes on with a training that was interrupted in its last validation: Lightning would train one more batch."""
        if (trainer.check_val_every_n_epoch, getattr(trainer, "val_check_interval", None)) == (1, 1.0):
            return
        loop = trainer.fit_loop
        # In an epoch's end, and where Lightning has counted the epoch just now, the current one is that which is next.
        is_over = loop.restarted_mid_epoch and not loop.epoch_loop.restarted_on_train_batch_end
        epochs = trainer.current_epoch + (is_over and trainer.is_last_batch)
        if _steps_are_done(trainer) or 0 <= (trainer.max_epochs or -1) <= epochs:
            trainer.should_stop = True

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts the interval back, now that Lightning has decided to validate."""
        self._put_back(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts the interval back, where there was nothing to validate."""
        self._put_back(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remembers the weights that were validated, and those that training would go on with."""
        assert isinstance(pl_module, CheckpointMixin)
        if pl_module.validated_weights is not None:
            validated = fingerprint(pl_module.validated_weights.values())
            self._known = [validated, fingerprint(pl_module.state_dict().values())]

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validates the weights that are there in the end, unless they are those of the last validation."""
        if not trainer.enable_validation:
            return
        if trainer.strategy.broadcast(fingerprint(pl_module.state_dict().values()) not in self._known):
            trainer.validating = True
            trainer.fit_loop.epoch_loop.val_loop.run()
            trainer.training = True

    def _put_back(self, trainer: pl.Trainer) -> None:
        if self._every_n_epochs is not None:
            trainer.check_val_every_n_epoch, self._every_n_epochs = self._every_n_epochs, None


def training_ends(trainer: pl.Trainer) -> bool:
    """Whether the batch that was trained just now is the last one of the training, or at most followed by an epoch's.

    Stops that others ask for count where the trainer is not bound to go on all the same.
    """
    if _steps_are_done(trainer):
        return True
    epochs = trainer.max_epochs or -1
    if trainer.is_last_batch and epochs != -1 and trainer.current_epoch + 1 >= epochs:
        return True
    fewest = (trainer.min_epochs or 0) <= trainer.current_epoch and (trainer.min_steps or 0) <= trainer.global_step
    return trainer.should_stop and fewest


def _steps_are_done(trainer: pl.Trainer) -> bool:
    return trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps
