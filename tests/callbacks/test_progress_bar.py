from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from qa_lightning.callbacks.progress_bar import SECONDS, ProgressBar


class Logged:
    """The values that a trainer has logged, which counts how often they are read."""

    def __init__(self) -> None:
        self.reads = 0
        self.state = SimpleNamespace(fn="fit")
        self.loggers = [SimpleNamespace(version=7, name="logs")]
        self.value = 1.0

    @property
    def progress_bar_metrics(self) -> dict[str, float]:
        self.reads += 1
        return {"train/loss": self.value}


def test_logged_values_are_read_now_and_then_and_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    bar, trainer = ProgressBar(), Logged()
    module: Any = None
    assert bar.get_metrics(trainer, module) == {"train/loss": 1.0}  # and no v_num
    trainer.value = 2.0
    assert [bar.get_metrics(trainer, module) for _ in range(50)] == [{"train/loss": 1.0}] * 50
    assert trainer.reads == 1
    now += SECONDS
    assert bar.get_metrics(trainer, module) == {"train/loss": 2.0}
    trainer.value = 3.0
    bar.on_validation_end(trainer, module)
    assert bar.get_metrics(trainer, module) == {"train/loss": 3.0}
    trainer.value = 4.0
    bar.on_train_epoch_end(trainer, module)
    assert bar.get_metrics(trainer, module) == {"train/loss": 4.0}
