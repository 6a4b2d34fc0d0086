"""Lightning's hooks by which modules of ours are trained."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.optim import Optimizer

from qa_lightning.modeling.acceleration import Acceleration
from qa_lightning.modeling.checkpointing import CheckpointMixin
from qa_lightning.modeling.evaluation_hooks import EvaluationMixin
from qa_lightning.modeling.finite import LossCheck, can_skip_steps
from qa_lightning.modeling.hidden_states import HiddenStateLoss
from qa_lightning.modeling.loss import PLAIN_LOSS, LossConfig, training_loss
from qa_lightning.modeling.objective import Logits, LossOf, LossTerm, TrainingPass, compute_terms, weighted
from qa_lightning.modeling.optimization_hooks import OptimizationMixin
from qa_lightning.modeling.set_losses import SetLosses
from qa_lightning.modeling.teacher import TeacherModel
from qa_lightning.pretrained.settings import NULL_AT_END
from qa_lightning.records import Batch


class StepMixin(OptimizationMixin, CheckpointMixin):
    """The part of a module that makes each training step repeatable, and ends a training whose loss is not finite."""

    _acceleration: Acceleration

    def __init__(self) -> None:
        super().__init__()
        self._loss_check = LossCheck()
        self._training_has_begun = True

    def on_fit_start(self) -> None:
        """Restores the weights of an interrupted training, and enables what makes training faster on its device."""
        self._loss_check = LossCheck()  # without the losses of a training that was interrupted
        self._training_has_begun = True  # what was before was a search for a learning rate, which goes to extremes
        self.restore_training_weights()
        self._acceleration.begin_training(self.trainer)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seeds what is random in a step, such as dropout, by the seed and the step alone.

        An interrupted training thus continues exactly as it would have, on any number of processes.
        """
        seed = os.environ.get("PL_GLOBAL_SEED")
        if seed is not None:
            step = (int(seed), self.current_epoch, batch_idx, self.global_rank)
            torch.manual_seed(int(np.random.SeedSequence(step).generate_state(1, np.uint64)[0]))

    def check_loss(self, loss: Tensor, ids: Sequence[str]) -> None:
        """Checks that a batch's loss is finite.

        Args:
            loss: A floating-point scalar.
            ids: Ids of what the batch holds.

        Raises:
            UserError: Where it, or on a GPU that of an earlier batch, is not.
        """
        if self._training_has_begun:
            defer = loss.device.type == "cuda" and all(map(can_skip_steps, self.trainer.optimizers))
            self._loss_check.add(loss, self.global_step, ids, defer=defer)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Makes the optimizer skip its step where a loss is not finite."""
        self._loss_check.before_step(optimizer)
        if not self._training_has_begun:
            self.keep_ratios(optimizer)

    def on_train_epoch_end(self) -> None:
        """Stops training where a loss was not finite."""
        self._loss_check.finish()

    def on_validation_epoch_start(self) -> None:
        """Stops training where a loss was not finite, and starts an evaluation."""
        self._loss_check.finish()
        super().on_validation_epoch_start()


class TrainingMixin(StepMixin, EvaluationMixin):
    """The part of a `QALightningModule` that computes what training minimises.

    Attributes:
        loss: The loss of the golds.
        loss_terms: What is added to it.
        gold_weight: What it is multiplied by.
        teachers: Networks that are learnt from; the data module adds their predictions to the batches of training.
    """

    loss: LossConfig
    loss_terms: tuple[LossTerm, ...]
    gold_weight: float
    teachers: tuple[TeacherModel, ...]
    settings: dict[str, Any]
    tokenizer: Any

    def __init__(self) -> None:
        super().__init__()
        self._set_losses = SetLosses()

    def configure_callbacks(self) -> Sequence[Callback]:
        """The callbacks that the settings of this model ask for; checks its teachers, before data are read."""
        if self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            for teacher in self.teachers:
                teacher.check(self.settings["max_length"])
            for term in self.loss_terms:
                if isinstance(term, HiddenStateLoss):
                    term.watch(self.model, self.tokenizer, self.settings.get(NULL_AT_END, False))
        return super().configure_callbacks()

    def on_fit_start(self) -> None:
        """Forgets the losses of an earlier training, and begins as other modules do."""
        self._set_losses = SetLosses()
        super().on_fit_start()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Computes the mean loss of a batch's windows and the terms that are added, times the batch's weight.

        Raises:
            UserError: Where it, or on a GPU that of an earlier batch, is not finite, with the ids of the questions in
                that batch.
        """
        logits = self(batch)
        loss_of: LossOf = partial(self._mean_loss, batch)
        losses, labelled = self._window_losses(batch, logits)
        self._set_losses.add(batch, losses, labelled, self.global_step)
        loss = _mean(losses, labelled)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch))
        if self.gold_weight != 1:
            loss, loss_of = self.gold_weight * loss, weighted(loss_of, self.gold_weight)
        first = TrainingPass(self.model, batch, logits, loss, self.current_epoch, partial(self, batch), loss_of)
        for name, term in compute_terms(self.loss_terms, first).items():
            self.log(f"train/{name}", term, batch_size=len(batch))
            loss = loss + term
        self.check_loss(loss, batch.ids)
        return loss * batch.weight

    def _mean_loss(self, batch: Batch, logits: Logits) -> Tensor:
        return _mean(*self._window_losses(batch, logits))

    def _window_losses(self, batch: Batch, logits: Logits) -> tuple[Tensor, Tensor]:
        if self.loss == PLAIN_LOSS:
            return self.losses(batch, *logits)  # which a subclass may have changed
        return training_loss(*logits, batch, self.loss, self.evaluation.max_answer_length)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Logs the loss of each training set, where there are several, as ``train/loss/NAME``."""
        for name, loss in self._set_losses.take(self.trainer).items():
            self.log(f"train/loss/{name}", loss)


def _mean(losses: Tensor, labelled: Tensor) -> Tensor:
    """The mean loss of a batch's windows that have a label."""
    return losses.sum() / labelled.sum().clamp(min=1)
