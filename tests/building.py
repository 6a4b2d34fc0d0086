"""What a command line builds, up to where training would begin."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import pytest

from qa_lightning.cli.lightning import QACLI
from qa_lightning.cli.main import main


def build_trainer(arguments: list[str]) -> pl.Trainer:
    """The trainer that a ``fit`` builds together with its model and data, and then does not run.

    Args:
        arguments: What follows ``fit``.
    """
    trainers: list[pl.Trainer] = []

    def fit(cli: Any, **_: Any) -> None:
        trainers.append(cli.trainer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(QACLI, "fit", fit, raising=False)
        patch.setattr(QACLI, "after_fit", None)
        assert main(["fit", *arguments]) == 0
    (trainer,) = trainers
    return trainer
