"""The checkpoints on the way, such as ``step-500.ckpt``, of which a run keeps the last few."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.plugins.io import AsyncCheckpointIO

from qa_lightning.runs.folder import RunFolder
from qa_lightning.utils.files import link_or_copy

KEEP_ALL = -1
"""A number of step checkpoints without an end, as Lightning's ``save_top_k`` says it."""


def keep_step(trainer: pl.Trainer, run: RunFolder, last: Path, limit: int, *, weights_only: bool) -> None:
    """Gives the last state a name by its step as well, and removes the oldest of such files.

    Args:
        trainer: The trainer, at this step.
        run: The run's folder.
        last: The checkpoint of this step.
        limit: How many are kept, or ``KEEP_ALL``.
        weights_only: Whether checkpoints leave out what only going on with training needs.
    """
    step = trainer.global_step
    path = run.step_checkpoint(step)
    if isinstance(trainer.strategy.checkpoint_io, AsyncCheckpointIO) or not last.is_file():
        trainer.save_checkpoint(path, weights_only)  # the last state is being written, or is a folder
    elif trainer.is_global_zero:
        link_or_copy(last, path)  # the next last state takes its name, and leaves these bytes alone
    if trainer.is_global_zero and limit != KEEP_ALL:
        others = [other for other in _oldest_first(run, step) if other != path]
        for old in others[: max(0, len(others) + 1 - limit)]:
            trainer.strategy.remove_checkpoint(old)


def _oldest_first(run: RunFolder, step: int) -> list[Path]:
    """The step checkpoints of a run; first those beyond this step, which training went back from."""
    return [path for _, path in sorted(run.step_checkpoints(), key=lambda kept: (kept[0] <= step, kept[0]))]
