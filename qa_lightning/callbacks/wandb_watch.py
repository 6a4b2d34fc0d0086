"""Has Weights & Biases watch a model's gradients and weights while it trains."""

from __future__ import annotations

from typing import Literal

import lightning.pytorch as pl
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info

from qa_lightning.utils.errors import UserError


class WandbWatch(pl.Callback):
    """Calls ``watch`` of each Weights & Biases logger for the time of a training; does nothing without one.

    Args:
        log: What becomes histograms: ``gradients``, ``parameters`` or ``all``.
        log_freq: After how many batches each time.
        log_graph: Whether to show the model's modules as a graph, too.

    Raises:
        UserError: Where ``log_freq`` is not positive.
    """

    def __init__(
        self,
        log: Literal["gradients", "parameters", "all"] = "gradients",
        log_freq: int = 100,
        log_graph: bool = False,
    ) -> None:
        if log_freq < 1:
            raise UserError(f"log_freq of WandbWatch must be at least 1, not {log_freq}")
        self.what = log  # Lightning makes a method of the name `log`
        self.log_freq = log_freq
        self.log_graph = log_graph
        self._watching: list[WandbLogger] = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins to watch, on the first process, whose logger it is."""
        if not trainer.is_global_zero:
            return
        self._watching = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
        for logger in self._watching:
            logger.watch(pl_module, log=self.what, log_freq=self.log_freq, log_graph=self.log_graph)
        if not self._watching:
            rank_zero_info("WandbWatch has nothing to do: no logger of this run is Weights & Biases'")

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes the hooks off the model again."""
        watching, self._watching = self._watching, []
        for logger in watching:
            logger.experiment.unwatch(pl_module)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """The same where training ends before its end."""
        self.on_fit_end(trainer, pl_module)
