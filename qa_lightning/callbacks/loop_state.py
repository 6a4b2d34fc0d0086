"""Where Lightning's loops are in a training, and what a saved state of them says."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl


def go_on_after_batch(fit_loop: dict[str, Any]) -> None:
    """Makes a saved state of Lightning's loops that of a batch's end, where it is that of the next one's start.

    Args:
        fit_loop: The state, which is changed.
    """
    for counts in map(fit_loop["epoch_loop.batch_progress"].get, ("total", "current")):
        if counts["ready"] > counts["started"]:
            counts["ready"] = counts["started"]


def go_on_before_validation(fit_loop: dict[str, Any]) -> None:
    """Makes a saved state of Lightning's loops one from which the validation that it is in begins anew.

    Lightning does that where a validation's batch was begun and not finished; else it skips the rest.

    Args:
        fit_loop: The state, which is changed.
    """
    progress = fit_loop["epoch_loop.val_loop.batch_progress"]
    progress["total"] |= {"ready": 1, "started": 1, "processed": 0, "completed": 0}
    progress["current"] |= dict.fromkeys(progress["current"], 0)
    progress["is_last_batch"] = False


def count_epoch_once(trainer: pl.Trainer) -> None:
    """Corrects the number of epochs where training resumes at the end of one, which Lightning goes through again.

    Where ``max_steps`` alone ends a training, Lightning counts that epoch twice, and what comes next would not be the
    order of the next epoch, but that of the one after it.
    """
    if trainer.fit_loop.restarted_on_epoch_end:
        progress: Any = trainer.fit_loop.epoch_progress
        progress.current.processed -= 1
        progress.total.processed -= 1


def is_whole(trainer: pl.Trainer) -> bool:
    """Whether no batch is at work, and no gradients wait for those of the next."""
    progress: Any = trainer.fit_loop.epoch_loop.batch_progress
    if progress.current.started != progress.current.processed:
        return False
    return progress.is_last_batch or progress.current.processed % trainer.accumulate_grad_batches == 0
