"""The checkpoints of a run: the best epoch and the last state."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from qa_lightning.bounds import check_between
from qa_lightning.errors import UserError


class RunCheckpoint(ModelCheckpoint):
    """Keeps ``checkpoints/best.ckpt`` and ``checkpoints/last.ckpt`` in the run's folder, also when interrupted.

    Args:
        monitor: The score that decides which is the best.
        mode: Whether more (``max``) or less (``min``) of it is better.
        every_n_train_steps: Saves the last state every so many steps, not only after each validation.
        save_weights_only: Leaves out what only going on with training needs.
    """

    def __init__(
        self,
        monitor: str = "val/f1",
        mode: Literal["max", "min"] = "max",
        every_n_train_steps: int | None = None,
        save_weights_only: bool = False,
    ) -> None:
        if every_n_train_steps is not None:
            check_between("checkpoint.every_n_train_steps", every_n_train_steps, 1)
        super().__init__(
            filename="best",
            monitor=monitor,
            mode=mode,
            save_weights_only=save_weights_only,
            auto_insert_metric_name=False,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )
        self.steps_between = every_n_train_steps
        self._step_of_last = 0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Settles the folder, whatever loggers there are."""
        self.dirpath = str(Path(trainer.default_root_dir, "checkpoints"))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*exists and is not empty")  # as it should be, when training goes on
            super().setup(trainer, pl_module, stage)

    def state_dict(self) -> dict[str, Any]:
        """The best score, so that training that goes on does not take a worse one for it."""
        return {"best_model_score": self.best_model_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the best score of the training that goes on, if it goes on in the folder that holds the best."""
        best, score = str(Path(str(self.dirpath), "best.ckpt")), state_dict["best_model_score"]
        if score is not None and Path(best).is_file():
            self.best_model_path = self.kth_best_model_path = best
            self.best_model_score = self.kth_value = score
            self.best_k_models = {best: score}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves the last state where it is time to."""
        if self.steps_between and trainer.global_step % self.steps_between == 0:
            self._save_last(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves the best state, if this is it, and the last one, unless the epoch's end, where it is next, is here.

        Raises:
            UserError: Where the score that decides is not there.
        """
        if _in_training(trainer) and self.monitor not in trainer.callback_metrics:
            there = ", ".join(name for name in trainer.callback_metrics if not name.startswith("train/"))
            raise UserError(f"there is no score {self.monitor!r} to watch (checkpoint.monitor); there are: {there}")
        super().on_validation_end(trainer, pl_module)
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._save_last(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves the last state, after all that the end of an epoch changes in other callbacks."""
        self._step_of_last = 0
        self._save_last(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Saves the last state when Ctrl-C or a signal ends training, so that it can go on from there."""
        if isinstance(exception, KeyboardInterrupt | SystemExit):
            self._save_last(trainer)

    def _save_last(self, trainer: pl.Trainer) -> None:
        """Saves the state in training, once a step."""
        if _in_training(trainer) and trainer.global_step != self._step_of_last:
            step_of_best = self._last_global_step_saved
            self.last_model_path = str(Path(str(self.dirpath), "last.ckpt"))
            self._save_checkpoint(trainer, self.last_model_path)
            self._last_global_step_saved = step_of_best  # else the base class would not save the best any more
            self._step_of_last = trainer.global_step


def _in_training(trainer: pl.Trainer) -> bool:
    return trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
