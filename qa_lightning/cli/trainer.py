"""Lightning's trainer, whose processes do not wait for each other in the handlers of signals."""

from __future__ import annotations

import signal
from typing import Any

import lightning.pytorch as pl
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.trainer.connectors.signal_connector import _SignalConnector

from qa_lightning.utils.checkpoint_io import DurableCheckpointIO


class Trainer(pl.Trainer):
    """Lightning's trainer, with checkpoints that are written beside the older ones, and SIGTERM left to us.

    Lightning has every process that gets a SIGTERM send to the others from the signal's handler, wherever they
    are: they wait for each other for ever where only one of them got it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._signal_connector = _SignalsOfOthers(self)
        if type(self.strategy.checkpoint_io) is TorchCheckpointIO:  # another one was chosen by the user
            self.strategy.checkpoint_io = DurableCheckpointIO()


class _SignalsOfOthers(_SignalConnector):
    """Lightning's handlers, but for that of SIGTERM."""

    def register_signal_handlers(self) -> None:
        before = signal.getsignal(signal.SIGTERM)
        super().register_signal_handlers()
        self._register_signal(signal.SIGTERM, before)
