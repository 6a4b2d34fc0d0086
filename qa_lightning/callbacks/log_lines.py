"""The lines about a run's progress that a log has, as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint, Timer
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from qa_lightning.utils.pace import Pace, share

SHOWN = ("loss", "exact_match", "f1", "perplexity", "accuracy")
"""The figures of an evaluation set that a line has; all of them are in the table of scores and in the logs."""


def total_steps(trainer: pl.Trainer) -> float:
    """Steps of the optimizer until a training ends by epochs or steps; infinite where neither ends it."""
    try:
        total = float(trainer.estimated_stepping_batches)
    except MisconfigurationException:  # how many batches a step takes changes on the way
        total = math.inf
    return total


def training_line(trainer: pl.Trainer, pace: Pace | None, total: float, values: Mapping[str, Any]) -> str:
    """Where a training is: ``epoch 0/2, step 1,200/6,000 (20%), train/loss 1.234, 3.2 steps/s, 25 min left``.

    Args:
        trainer: The trainer.
        pace: Its steps; None before the first one.
        total: Its last step.
        values: What was logged, by name; those of the training are shown.
    """
    step = trainer.global_step
    parts = [_epoch(trainer), f"step {share(step, total)}", *figures(values, "train/")]
    if pace is not None:
        parts += pace.texts(step, total, "step", _time_left(trainer))
    return ", ".join(parts)


def evaluation_line(what: str, pace: Pace, done: int, total: float) -> str:
    """Where an evaluation is: ``validation: batch 120/800 (15%), 12.3 batches/s, 56 s left``.

    Args:
        what: What is done: ``validation``, ``test``, ``prediction``.
        pace: Its batches.
        done: How many are done.
        total: Of how many.
    """
    return ", ".join([f"{what}: batch {share(done, total)}", *pace.texts(done, total, "batch")])


def scores_line(trainer: pl.Trainer, values: Mapping[str, Any], *, of_validation: bool = True) -> str:
    """What a validation in a training, or an epoch without one, came to.

    Args:
        trainer: The trainer, before its checkpoints know of this validation.
        values: What was logged, by name.
        of_validation: Whether there was one; else what is known of it is an earlier one's.
    """
    shown = figures(values, "train/")
    if not of_validation:
        return f"{_epoch(trainer)}, step {trainer.global_step:,}: {', '.join(shown)}"
    shown += figures(values, "val/")
    watched = next((c for c in callbacks_of(trainer) if isinstance(c, ModelCheckpoint) and c.monitor in values), None)
    beside = ""
    if watched is not None and watched.monitor is not None:
        if watched.monitor.rpartition("/")[2] not in SHOWN:
            shown += figures({watched.monitor: values[watched.monitor]}, "")
        beside = f" ({_beside_the_best(watched, watched.monitor, float(values[watched.monitor]))})"
    return f"{_epoch(trainer)}, step {trainer.global_step:,}: {', '.join(shown)}{beside}"


def callbacks_of(trainer: Any) -> list[pl.Callback]:
    """A trainer's callbacks, which Lightning's class does not declare."""
    return trainer.callbacks


def figures(values: Mapping[str, Any], prefix: str) -> list[str]:
    """``val/f1 81.25`` of each figure with a prefix that is to be shown; of several sets' as ``val/en/f1 81.25``."""
    if any(name.startswith(prefix) and name.count("/") > 1 for name in values):
        values = {name: value for name, value in values.items() if name.count("/") > 1}  # the first set's are twice
    return [
        f"{name} {float(value):.{3 if name.endswith('loss') else 2}f}"
        for name, value in values.items()
        if name.startswith(prefix) and (not prefix or name.rpartition("/")[2] in SHOWN)
    ]


def _epoch(trainer: pl.Trainer) -> str:
    """The epoch as Lightning and ``metrics.json`` count it: from 0."""
    last = trainer.max_epochs
    return f"epoch {trainer.current_epoch}" + (f"/{last - 1}" if last is not None and last > 0 else "")


def _beside_the_best(checkpoint: ModelCheckpoint, name: str, value: float) -> str:
    best = checkpoint.best_model_score
    if best is None or (value > best if checkpoint.mode == "max" else value < best):
        return f"the best {name} so far"
    return f"best {name}: {float(best):.2f}"


def _time_left(trainer: pl.Trainer) -> float | None:
    timers = [callback for callback in callbacks_of(trainer) if isinstance(callback, Timer)]
    left = [seconds for timer in timers if (seconds := timer.time_remaining()) is not None]
    return max(0.0, min(left)) if left else None
