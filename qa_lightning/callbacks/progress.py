"""Whether a run has begun with its work, which decides what an error means."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl

from qa_lightning.utils.refusals import Progress


class MarkStarted(pl.Callback):
    """Notes that the first batch of a training or an evaluation is done.

    Args:
        progress: Where it is noted.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_train_batch_end(self, *_: Any) -> None:
        """A training has started."""
        self.progress.started = True

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """An evaluation has, if it is not the one by which Lightning tries things out."""
        self.progress.started |= not trainer.sanity_checking

    def on_test_batch_end(self, *_: Any) -> None:
        """A test has started."""
        self.progress.started = True

    def on_predict_batch_end(self, *_: Any) -> None:
        """Answering has."""
        self.progress.started = True
