"""Leaves out what Lightning says that is no news to the user of a command."""

from __future__ import annotations

import logging
import re

_NO_NEWS = re.compile(
    r"\s*("
    "💡|"  # advertisements
    "TPU available: False|"
    "Loading `train_dataloader` to estimate|"
    # Why a training ends, we say ourselves, in all cases.
    r"`Trainer\.fit` stopped: `max_|Time limit reached\.|"
    "Detected KeyboardInterrupt, attempting graceful shutdown|"
    # Our own checkpoints say that by themselves.
    "`weights_only` was not set)"
)

_LOGGERS = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
    "lightning.pytorch.trainer.connectors.checkpoint_connector",
)
"""The loggers by which Lightning talks to the user."""


def leave_out_no_news() -> None:
    """From here on, Lightning's messages that are no news are not printed."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_is_news)  # which is added once only


def _is_news(record: logging.LogRecord) -> bool:
    return _NO_NEWS.match(record.getMessage()) is None
