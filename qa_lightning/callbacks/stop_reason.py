"""Says why a training ended."""

from __future__ import annotations

from datetime import timedelta

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EarlyStopping, Timer
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason

from qa_lightning.callbacks.log_lines import callbacks_of


class StopReason(pl.Callback):
    """Prints why a training ended: its epochs, steps or time are over, or a score no longer got better.

    A loss that is not a number, and what else ends in an error, says so by itself.
    """

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints it, once, on the first process."""
        if trainer.is_global_zero:
            print(f"Training ends after step {trainer.global_step:,}: {stop_reason(trainer)}", flush=True)


def stop_reason(trainer: pl.Trainer) -> str:
    """Why a training that is at its end ended, in words."""
    reasons = []
    if trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps:
        reasons.append(f"trainer.max_steps {trainer.max_steps:,} is reached")
    if trainer.max_epochs is not None and 0 <= trainer.max_epochs <= trainer.current_epoch:
        reasons.append(f"all epochs are trained (trainer.max_epochs {trainer.max_epochs})")
    for callback in callbacks_of(trainer):
        if isinstance(callback, EarlyStopping):
            reasons += _of_early_stopping(trainer, callback)
        elif isinstance(callback, Timer) and _is_over(callback):
            spent = timedelta(seconds=round(callback.time_elapsed()))
            reasons.append(f"its time is over (trainer.max_time): it took {spent}")
    return "; ".join(reasons) or "a callback asked for it (trainer.should_stop)"


def _of_early_stopping(trainer: pl.Trainer, callback: EarlyStopping) -> list[str]:
    name, best = callback.monitor, float(callback.best_score)
    if callback.stopping_reason == EarlyStoppingReason.PATIENCE_EXHAUSTED and callback.wait_count >= callback.patience:
        value = trainer.callback_metrics.get(name)
        now = "" if value is None else f", and is {float(value):.4g} now"
        return [
            f"early stopping: {name} has not been better than {best:.4g} for {callback.wait_count} "
            f"validation{'s' * (callback.wait_count != 1)} (patience {callback.patience}){now}"
        ]
    if callback.stopping_reason in (EarlyStoppingReason.NOT_STOPPED, EarlyStoppingReason.PATIENCE_EXHAUSTED):
        return []
    said = (callback.stopping_reason_message or "").replace(" Signaling Trainer to stop.", "")
    return [f"early stopping: {said.rstrip('.')}"]


def _is_over(timer: Timer) -> bool:
    left = timer.time_remaining()
    return left is not None and left <= 0
