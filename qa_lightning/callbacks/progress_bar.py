"""Shows how far a run is: as a bar in a terminal, as a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.trainer.states import TrainerFn

from qa_lightning.callbacks.log_lines import evaluation_line, scores_line, total_steps, training_line
from qa_lightning.utils.bounds import check_between
from qa_lightning.utils.pace import SECONDS_BETWEEN_LINES, Interval, Pace, stamped

SECONDS = 0.5
"""How old the values beside the bar may be: each look at them waits for the device that computes them."""


class ProgressBar(RichProgressBar):
    """Lightning's rich progress bar in a terminal or notebook, and lines that can be followed anywhere else.

    Where the output is a file or a pipe, a line every so many seconds has the epoch, the step, the loss, the speed and
    the time that is left; long evaluations have such lines, too. Each validation of a training leaves a line with its
    scores, in a terminal above the bar. Only the first of several processes shows anything. Logged values are read
    twice a second at most, instead of after each batch, since a GPU is waited for then.

    Args:
        log_every_n_seconds: Seconds between two lines where the output is no terminal; 0: a line after each batch.

    Raises:
        UserError: Where these are less than 0.
    """

    def __init__(self, log_every_n_seconds: float = SECONDS_BETWEEN_LINES) -> None:
        check_between("log_every_n_seconds", log_every_n_seconds, 0)
        super().__init__()
        self._is_shown = True
        self._is_live = True
        self._interval = Interval(log_every_n_seconds)
        self._training: Pace | None = None
        self._total_steps = float("inf")
        self._evaluation = Pace()
        self._batches = 0
        self._scores_are_said = False
        self._was_validated = False
        self._read_at = float("-inf")
        self._metrics: dict[str, Any] = {}

    @property
    def is_enabled(self) -> bool:
        """Whether there is a bar."""
        return self._is_shown and self._is_live

    def enable(self) -> None:
        """Shows progress again."""
        self._is_shown = True

    def disable(self) -> None:
        """Shows nothing, as on all processes but the first, and in a search for a learning rate."""
        self._is_shown = False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Finds out what the output is."""
        super().setup(trainer, pl_module, stage)
        self._is_live = _can_show_a_bar()

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """The values beside the bar, without the version of the logger's folder."""
        now = time.monotonic()
        if now - self._read_at >= SECONDS:
            self._metrics = {**super().get_metrics(trainer, pl_module)}
            self._metrics.pop("v_num", None)
            self._read_at = now
        return self._metrics

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins to measure."""
        super().on_train_start(trainer, pl_module)
        self._interval.restart()
        self._training = None
        if self._writes_lines:
            self._total_steps = total_steps(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Notes that nothing of this epoch was shown."""
        super().on_train_epoch_start(trainer, pl_module)
        self._scores_are_said = False

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Shows where training is."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if not self._writes_lines:
            return
        if self._interval.is_over():
            values = self.get_metrics(trainer, pl_module)
            self._say(training_line(trainer, self._training, self._total_steps, values))
        if self._training is None:
            self._training = Pace(trainer.global_step)  # the first step, which may compile, says nothing about others
        if self._was_validated:
            self._training.restart(trainer.global_step)
            self._was_validated = False

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Shows the epoch's own values in the end."""
        self._read_at = float("-inf")
        super().on_train_epoch_end(trainer, pl_module)
        if self._is_shown and not self._scores_are_said:
            self._say(scores_line(trainer, trainer.callback_metrics, of_validation=False))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins to measure an evaluation."""
        super().on_validation_start(trainer, pl_module)
        self._begin_evaluation()

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins to measure a test."""
        super().on_test_start(trainer, pl_module)
        self._begin_evaluation()

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins to measure predicting."""
        super().on_predict_start(trainer, pl_module)
        self._begin_evaluation()

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Shows where a validation is."""
        super().on_validation_batch_end(trainer, *args, **kwargs)
        if not trainer.sanity_checking:
            self._count_batch("validation", trainer.num_val_batches)

    def on_test_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Shows where a test is."""
        super().on_test_batch_end(trainer, *args, **kwargs)
        self._count_batch("test", trainer.num_test_batches)

    def on_predict_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Shows where predicting is."""
        super().on_predict_batch_end(trainer, *args, **kwargs)
        self._count_batch("prediction", trainer.num_predict_batches)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Shows the scores of the validation."""
        self._read_at = float("-inf")
        super().on_validation_end(trainer, pl_module)
        if self._is_shown and trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._say(scores_line(trainer, trainer.callback_metrics))
            self._scores_are_said = True
        self._was_validated = True

    @property
    def _writes_lines(self) -> bool:
        return self._is_shown and not self._is_live

    def _begin_evaluation(self) -> None:
        self._evaluation, self._batches = Pace(), 0

    def _count_batch(self, what: str, batches: Sequence[float]) -> None:
        self._batches += 1
        if self._writes_lines and self._interval.is_over():
            self._say(evaluation_line(what, self._evaluation, self._batches, sum(batches)))

    def _say(self, text: str) -> None:
        """Prints a line, which rich puts above a bar that is there."""
        print(stamped(text), flush=True)
        self._interval.restart()


def _can_show_a_bar() -> bool:
    """Whether the output can be drawn over: it is a notebook's, or a terminal's that is more than a printer."""
    from rich.console import Console

    console = Console()
    # An environment can say that a file has colours, but it is no place for a bar.
    return console.is_jupyter or (console.is_interactive and console.file.isatty())
