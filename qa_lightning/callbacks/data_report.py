"""Writes and logs what was read, repaired, cut and dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import lightning.pytorch as pl

from qa_lightning.runs.folder import RunFolder
from qa_lightning.utils.files import write_json


class Reports(Protocol):
    """Something that reports what became of the data."""

    def reports(self) -> dict[str, Any]:
        """Plain data for each split that was read."""


class DataReport(pl.Callback):
    """Writes ``data.json`` with counts and ids, and logs the counts.

    Args:
        data: The data module.
    """

    def __init__(self, data: Reports) -> None:
        self.data = data

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Writes and logs, once the data is there."""
        if not trainer.is_global_zero:
            return
        reports = self.data.reports()
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            write_json(RunFolder(Path(trainer.default_root_dir)).data_report, reports)
        counts = {f"data/{key}": value for key, value in _numbers(reports)}
        for logger in trainer.loggers:
            logger.log_hyperparams(counts)


def _numbers(tree: dict[str, Any], path: str = "") -> list[tuple[str, int | float]]:
    found: list[tuple[str, int | float]] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            found += _numbers(value, f"{path}{key}/")
        elif isinstance(value, int | float):
            found.append((f"{path}{key}", value))
    return found
