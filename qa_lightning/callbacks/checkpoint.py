"""The checkpoints of a run: the best epoch, the last state, and states on the way."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from qa_lightning.callbacks.final_validation import training_ends
from qa_lightning.callbacks.log_lines import callbacks_of
from qa_lightning.callbacks.loop_state import count_epoch_once, go_on_after_batch, go_on_before_validation, is_whole
from qa_lightning.callbacks.run_files import begins, keeps_files, warn_of_earlier_run, write_run_files
from qa_lightning.callbacks.step_checkpoints import KEEP_ALL, keep_step
from qa_lightning.runs.folder import RunFolder
from qa_lightning.utils.bounds import check_between
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.processes import stop_main_process
from qa_lightning.utils.signals import REQUEUE, DeferredSignals

STEPS_BETWEEN_LOOKS = 8
"""Steps after which processes with GPUs ask each other whether one of them was asked to end."""


class RunCheckpoint(ModelCheckpoint):
    """Keeps ``checkpoints/best.ckpt`` and ``checkpoints/last.ckpt`` in the run's folder, also when interrupted.

    With ``save_total_limit`` there are also the states on the way, as ``checkpoints/step-500.ckpt``.

    Ctrl-C and SIGTERM end a training after the optimizer's next step, or a batch of a validation between two steps,
    on all processes at once, so that the state that is saved is a whole one. A second Ctrl-C ends it where it is, and
    saves nothing. In a job of Slurm, SIGUSR1 ends it likewise, and has Lightning requeue the job.

    Args:
        monitor: The score that decides which is the best.
        mode: Whether more (``max``) or less (``min``) of it is better.
        every_n_train_steps: Saves the last state every so many steps, not only after each validation.
        save_weights_only: Leaves out what only going on with training needs.
        save_total_limit: Keeps each of these states beside the last one, and of them the last so many, or all (-1).

    Raises:
        UserError: For a ``save_total_limit`` that keeps nothing, or without ``every_n_train_steps``.
    """

    section = "checkpoint"

    def __init__(
        self,
        monitor: str = "val/f1",
        mode: Literal["max", "min"] = "max",
        every_n_train_steps: int | None = None,
        save_weights_only: bool = False,
        save_total_limit: int | None = None,
    ) -> None:
        if save_total_limit is not None and save_total_limit < 1 and save_total_limit != KEEP_ALL:
            raise UserError(f"checkpoint.save_total_limit must be at least 1, or -1 for all, not {save_total_limit}")
        if save_total_limit is not None and not every_n_train_steps:
            raise UserError(
                "checkpoint.save_total_limit keeps the checkpoints that checkpoint.every_n_train_steps makes: set both"
            )
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
        self.save_total_limit = save_total_limit
        self._step_of_last = 0
        self._is_due = False
        self._saving_before_validation = False
        self._saving_last = False
        self._all_stop = False
        self._signals = DeferredSignals()
        self._epoch_is_over = False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Settles the folder, whatever loggers there are."""
        self.dirpath = str(RunFolder(Path(trainer.default_root_dir)).checkpoints)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*exists and is not empty")  # as it should be, when training goes on
            super().setup(trainer, pl_module, stage)
        if stage == "fit":
            self._check_monitor([pl_module, *callbacks_of(trainer)])

    def _check_monitor(self, loggers_of_scores: Sequence[object]) -> None:
        """Refuses to watch a score without a ``/``, where nothing but code of ours and of Lightning logs any."""
        known = all(
            type(each).__module__.partition(".")[0] in ("qa_lightning", "lightning") for each in loggers_of_scores
        )
        if known and self.monitor is not None and "/" not in self.monitor:
            raise UserError(
                f"there will be no score {self.monitor!r} to watch (checkpoint.monitor); scores are called val/f1, "
                "val/exact_match, val/loss and so on, or with the name of a set, val/NAME/f1"
            )

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that make it anew."""
        return {
            "monitor": self.monitor,
            "mode": self.mode,
            "every_n_train_steps": self.steps_between,
            "save_weights_only": self.save_weights_only,
            "save_total_limit": self.save_total_limit,
        }

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets what another training reached, where this object was there for it, too."""
        if begins(trainer):
            self.best_model_path = self.kth_best_model_path = self.last_model_path = ""
            self.best_model_score, self.best_k_models = None, {}
            warn_of_earlier_run(trainer)

    def state_dict(self) -> dict[str, Any]:
        """The best score, so that training that goes on does not take a worse one for it."""
        return {"best_model_score": self.best_model_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the best score of the training that goes on, if it goes on in the folder that holds the best."""
        best, score = str(self._run.best_checkpoint), state_dict["best_model_score"]
        if score is not None and Path(best).is_file():
            self.best_model_path = self.kth_best_model_path = best
            self.best_model_score = self.kth_value = score
            self.best_k_models = {best: score}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From here on, Ctrl-C and SIGTERM wait for a good moment."""
        count_epoch_once(trainer)
        if keeps_files(trainer):
            write_run_files(trainer, pl_module, self._run.path, overwrite=trainer.ckpt_path is None)
        self._step_of_last = trainer.global_step  # of the checkpoint that training goes on from
        self._is_due = self._all_stop = False
        launcher: Any = trainer.strategy.launcher

        def pass_on() -> None:
            if launcher is not None:
                launcher.kill(signal.SIGTERM)
            stop_main_process()

        say = "Ending after this step; all is saved (Ctrl-C once more: ends at once, and saves nothing)"
        self._signals.begin(pass_on, say if trainer.is_global_zero else None)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Saves the last state where it is time to, and ends training that was asked to end.

        Here, and not at the end of the batch before, a validation that was due after that one is done.
        """
        self._epoch_is_over = False
        if not is_whole(trainer):
            return
        if self._is_due or (self.steps_between and trainer.global_step % self.steps_between == 0):
            self._save_last(trainer)
        if trainer.world_size == 1 or self._step_between_looks(trainer) == 0:
            self._end_if_asked(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Saves the last state where training ends in mid-epoch, from where it could go on."""
        if training_ends(trainer) and not trainer.is_last_batch:
            self._save_last(trainer)

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Ends training that was asked to end. The other processes do at the end of their batches of the validation."""
        if _in_training(trainer) and is_whole(trainer) and self._signals.signal is not None:
            self._end_if_asked(trainer)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ends training that a process was asked to end, before all of them bring together what they have."""
        if _in_training(trainer) and is_whole(trainer):
            self._end_if_asked(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves the best state, if this is it, and the last one, unless the epoch's end, where it is next, is here.

        Raises:
            UserError: Where the score that decides is not there.
        """
        if _in_training(trainer) and self.monitor not in trainer.callback_metrics:
            there = ", ".join(name for name in trainer.callback_metrics if not name.startswith("train/"))
            raise UserError(f"there is no score {self.monitor!r} to watch (checkpoint.monitor); there are: {there}")
        self._last_global_step_saved = -1  # the weights can be others than those of this step's last validation
        super().on_validation_end(trainer, pl_module)
        # When all is over, the weights may be an average, which training could not go on from.
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch and not self._epoch_is_over:
            self._step_of_last = 0  # one that was saved before does not know the scores
            self._save_last(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves the last state, after all that the end of an epoch changes in other callbacks."""
        if trainer.is_last_batch:
            self._step_of_last = 0
        self._save_last(trainer)
        self._epoch_is_over = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ends what was asked to end while its last epoch did."""
        super().on_train_end(trainer, pl_module)
        self._end_if_asked(trainer)
        self._signals.end()
        if trainer.is_global_zero:
            for path in self._run.requeue_checkpoints():
                trainer.strategy.remove_checkpoint(path)  # there is nothing left to go on with

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Saves the last state when Ctrl-C or a signal ends training, so that it can go on from there."""
        is_end = isinstance(exception, KeyboardInterrupt | SystemExit)
        # Processes save together, or each would wait for the others.
        if is_end and (trainer.world_size == 1 or self._all_stop):
            self._saving_before_validation = trainer.validating
            self._save_last(trainer)
            self._saving_before_validation = False
        self._signals.end()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Corrects what Lightning would take for the state of its loops."""
        if self._saving_last:
            go_on_after_batch(checkpoint["loops"]["fit_loop"])
        if self._saving_last and self._saving_before_validation:
            go_on_before_validation(checkpoint["loops"]["fit_loop"])

    def _requeue(self, trainer: pl.Trainer) -> None:
        """Has Lightning save ``hpc_ckpt_1.ckpt`` and requeue the job, now that the state is a whole one."""
        older = self._run.requeue_checkpoints()
        self._saving_last, self._saving_before_validation = True, trainer.validating
        try:
            self._signals.requeue()
        finally:
            self._saving_last = self._saving_before_validation = False
        self._step_of_last = trainer.global_step  # time is short: the same state is not saved twice
        if trainer.is_global_zero:
            for path in older:
                trainer.strategy.remove_checkpoint(path)

    @property
    def _run(self) -> RunFolder:
        """The folder of the run that is trained."""
        return RunFolder(Path(str(self.dirpath)).parent)

    def _save_last(self, trainer: pl.Trainer) -> None:
        """Saves the state in training, once a step; between two steps, once the second is made."""
        if not _in_training(trainer) or trainer.global_step == self._step_of_last or not keeps_files(trainer):
            return
        self._is_due = not is_whole(trainer)
        if self._is_due:
            return
        step_of_best = self._last_global_step_saved
        self.last_model_path = str(self._run.last_checkpoint)
        self._saving_last = True
        try:
            self._save_checkpoint(trainer, self.last_model_path)
        finally:
            self._saving_last = False
        self._last_global_step_saved = step_of_best  # else the base class would not save the best any more
        self._step_of_last = trainer.global_step
        limit = self.save_total_limit
        if limit is not None and self.steps_between and trainer.global_step % self.steps_between == 0:
            keep_step(trainer, self._run, Path(self.last_model_path), limit, weights_only=self.save_weights_only)

    @staticmethod
    def _step_between_looks(trainer: pl.Trainer) -> int:
        """Steps since processes last asked each other whether to end: GPUs would wait for the answer at each step."""
        return trainer.global_step % (1 if trainer.strategy.root_device.type == "cpu" else STEPS_BETWEEN_LOOKS)

    def _end_if_asked(self, trainer: pl.Trainer) -> None:
        """Ends training on all processes where one was asked to end; all of them must call this.

        Raises:
            KeyboardInterrupt: After Ctrl-C.
            SIGTERMException: After SIGTERM.
        """
        asked, requeue = self._signals.signal is not None, self._signals.signal == REQUEUE
        if trainer.world_size > 1:
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
            requeue = asked and trainer.strategy.reduce_boolean_decision(requeue, all=False)
        if asked:
            self._all_stop = True
            if requeue:
                self._requeue(trainer)
            raise KeyboardInterrupt if self._signals.signal == signal.SIGINT else SIGTERMException


def _in_training(trainer: pl.Trainer) -> bool:
    return trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
