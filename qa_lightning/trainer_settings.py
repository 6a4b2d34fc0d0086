"""Checks the settings of the Trainer that it accepts and that it, or a run of ours, cannot work with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qa_lightning.utils.errors import UserError

_LEAST = {
    "max_epochs": -1,
    "min_epochs": 0,
    "max_steps": -1,
    "min_steps": 0,
    "check_val_every_n_epoch": 1,
    "accumulate_grad_batches": 1,
    "log_every_n_steps": 0,
    "num_sanity_val_steps": -1,
    "gradient_clip_val": 0,
    "num_nodes": 1,
}
"""The least value of each setting; -1: no limit."""


def check_trainer_settings(settings: Mapping[str, Any]) -> None:
    """Checks for settings with which training would fail, or differ from what was asked for.

    Args:
        settings: The arguments of the Trainer.

    Raises:
        UserError: Names the setting and what to set instead.
    """
    for name, least in _LEAST.items():
        value = settings.get(name)
        if value is not None and not value >= least:
            unlimited = " (-1: no limit)" if least == -1 else ""
            raise UserError(f"trainer.{name} must be at least {max(least, 0)}{unlimited}, not {value}")
    if settings.get("val_check_interval") in (0, "0"):
        raise UserError(
            "trainer.val_check_interval must be above 0; for no validation, set trainer.limit_val_batches to 0"
        )
    if settings.get("overfit_batches"):
        raise UserError(
            "trainer.overfit_batches: batches here have an order of their own; to overfit some questions, set "
            "data.train_split and data.validation_split to a slice such as train[:20]"
        )
    if settings.get("barebones"):
        raise UserError(
            "trainer.barebones leaves out scores and checkpoints, which a run is made of; to measure speed alone, set "
            "trainer.limit_val_batches to 0 and trainer.max_steps to some steps"
        )
    if settings.get("enable_checkpointing") is False:
        raise UserError(
            "trainer.enable_checkpointing: a run keeps its best and its last checkpoint, so it cannot be false; set "
            "checkpoint.save_weights_only to true to make them smaller"
        )
    strategy = settings.get("strategy")
    start = getattr(getattr(strategy, "init_args", None), "start_method", strategy)
    if isinstance(start, str) and "spawn" in start:
        raise UserError("trainer.strategy: a run cannot be handed to spawned processes; ddp starts them another way")
