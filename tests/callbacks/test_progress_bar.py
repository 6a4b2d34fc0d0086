from __future__ import annotations

import io
import re
import sys
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
from lightning.pytorch.callbacks import EarlyStopping, Timer

from qa_lightning.callbacks.checkpoint import RunCheckpoint
from qa_lightning.callbacks.progress_bar import SECONDS, ProgressBar
from qa_lightning.callbacks.stop_reason import StopReason
from qa_lightning.utils.errors import UserError
from tests.training import make_data, make_module, make_trainer, script_scores, trains

pytestmark = trains

STEPS = 5
"""Of an epoch."""


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
    bar.disable()  # what it would print is another test's
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


def fit(
    model: Path, squad: Path, run: Path, *callbacks: pl.Callback, f1: tuple[float, ...] = (), **options: Any
) -> None:
    """Trains two epochs, unless told otherwise, with an F1 that is told."""
    module = script_scores(make_module(model), *f1)
    validation = {"validation_file": str(squad)} if f1 else {}
    shown = any(isinstance(callback, ProgressBar) for callback in callbacks)
    settings = {"max_epochs": 2, "num_sanity_val_steps": 0, "enable_progress_bar": shown} | options
    make_trainer(run, *callbacks, **settings).fit(module, make_data(model, train=squad, **validation))


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines that were printed, without the time of day."""
    lines = capsys.readouterr().out.splitlines()
    assert not any(line.startswith(("epoch", "validation")) for line in lines)
    return [re.sub(r"^\d\d:\d\d:\d\d  ", "", line) for line in lines]


def test_a_log_has_lines_on_training_validation_and_scores(
    model: Path, squad: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(model, squad, run, ProgressBar(0), RunCheckpoint(), f1=(40.0, 30.0))
    lines = said(capsys)
    steps = [line for line in lines if "/10 (" in line]
    assert [line.split(",")[0] for line in steps] == ["epoch 0/1"] * STEPS + ["epoch 1/1"] * STEPS
    assert re.fullmatch(r"epoch 0/1, step 1/10 \(10%\), train/loss \d+\.\d{3}", steps[0])
    pattern = r"epoch 0/1, step 3/10 \(30%\), train/loss \d+\.\d{3}, [\d.,]+ (steps/s|s/step), \d+ s left"
    assert re.fullmatch(pattern, steps[2])
    batches = [line for line in lines if line.startswith("validation: batch")]
    assert len(batches) % 2 == 0
    count = len(batches) // 2
    assert [line.split(",")[0] for line in batches[:count]] == [
        f"validation: batch {i}/{count} ({100 * i // count}%)" for i in range(1, count + 1)
    ]
    scores = [line for line in lines if "val/f1" in line]
    figures = r"train/loss \d+\.\d{3}, val/loss \d+\.\d{3}, val/exact_match \d+\.\d\d"
    assert re.fullmatch(rf"epoch 0/1, step 5: {figures}, val/f1 40\.00 \(the best val/f1 so far\)", scores[0])
    assert re.fullmatch(rf"epoch 1/1, step 10: {figures}, val/f1 30\.00 \(best val/f1: 40\.00\)", scores[1])
    assert len(scores) == 2


def test_a_short_training_has_a_line_an_epoch_with_scores_or_without(
    model: Path, squad: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(model, squad, run, ProgressBar(3600), f1=(40.0,), check_val_every_n_epoch=2, max_epochs=3)
    lines = said(capsys)
    assert [line.split(":")[0] for line in lines] == ["epoch 0/2, step 5", "epoch 1/2, step 10", "epoch 2/2, step 15"]
    assert ["val/f1" in line for line in lines] == [False, True, False]


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_evaluations_have_lines_too(
    model: Path, squad: Path, run: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    trainer = make_trainer(run, ProgressBar(0), enable_progress_bar=True)
    quiet = {"return_predictions": False} if verb == "predict" else {"verbose": False}
    file = {"validation_file" if verb == "validate" else f"{verb}_file": str(squad)}
    getattr(trainer, verb)(make_module(model), make_data(model, **file), **quiet)
    name = {"validate": "validation", "test": "test", "predict": "prediction"}[verb]
    lines = said(capsys)
    count = len(lines)
    assert count > 1
    assert [line.split(",")[0] for line in lines] == [
        f"{name}: batch {i}/{count} ({100 * i // count}%)" for i in range(1, count + 1)
    ]


def test_a_hidden_bar_says_nothing(model: Path, squad: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Hide(pl.Callback):
        """Stands for a process that is not the first."""

        def on_fit_start(self, trainer: pl.Trainer, *_: Any) -> None:
            bar: Any = trainer.progress_bar_callback
            bar.disable()

    fit(model, squad, run, Hide(), ProgressBar(0), f1=(40.0, 30.0))
    assert capsys.readouterr().out == ""


class Terminal(io.StringIO):
    """An output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_in_a_terminal_the_scores_stay_above_the_bar(
    model: Path, squad: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    for name, value in {"TERM": "xterm", "COLUMNS": "150"}.items():
        monkeypatch.setenv(name, value)
    fit(model, squad, run, ProgressBar(0), RunCheckpoint(), f1=(40.0, 30.0))
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    lines = re.split(r"[\r\n]+", plain)
    assert any("Epoch 0/1" in line and "━" in line for line in lines)  # a bar
    scores = [line for line in lines if "(the best val/f1 so far)" in line or "(best val/f1: 40.00)" in line]
    assert len(scores) == 2
    assert not any("steps/s" in line for line in lines)  # which is beside the bar


def test_colours_that_are_forced_make_no_terminal_of_a_file(
    model: Path, squad: Path, run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    fit(model, squad, run, ProgressBar(3600), f1=(40.0,), max_epochs=1)
    assert len(said(capsys)) == 1


def test_lines_cannot_be_less_than_no_time_apart() -> None:
    with pytest.raises(UserError, match="log_every_n_seconds must be at least 0, not -1"):
        ProgressBar(-1)


@pytest.mark.parametrize(
    ("callbacks", "options", "text"),
    [
        ((), {}, "after step 10: all epochs are trained (trainer.max_epochs 2)"),
        ((), {"max_steps": 3, "max_epochs": -1}, "after step 3: trainer.max_steps 3 is reached"),
        (
            (EarlyStopping("val/f1", mode="max", patience=2),),
            {"max_epochs": 9, "f1": (40.0, 30.0, 20.0)},
            "after step 15: early stopping: val/f1 has not been better than 40 for 2 validations (patience 2), and",
        ),
        (
            (EarlyStopping("val/f1", mode="max", stopping_threshold=35.0),),
            {"max_epochs": 9, "f1": (40.0,)},
            "after step 5: early stopping: Stopping threshold reached: val/f1 = 40.0 > 35.0",
        ),
        (
            (EarlyStopping("val/f1", mode="max"),),
            {"max_epochs": 9, "f1": (float("nan"),)},
            "after step 5: early stopping: Monitored metric val/f1 = nan is not finite",
        ),
        (
            (Timer(timedelta(microseconds=1)),),
            {"max_epochs": 9},
            "after step 1: its time is over (trainer.max_time): it took 0:00:00",
        ),
    ],
)
def test_why_a_training_ended_is_said(
    model: Path,
    squad: Path,
    run: Path,
    capsys: pytest.CaptureFixture[str],
    callbacks: tuple[pl.Callback, ...],
    options: dict[str, Any],
    text: str,
) -> None:
    fit(model, squad, run, *callbacks, StopReason(), **options)
    lines = [line for line in said(capsys) if "Training ends" in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"Training ends {text}")


def test_that_a_callback_ended_a_training_is_said(
    model: Path, squad: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            trainer.should_stop = True

    fit(model, squad, run, Stop(), StopReason())
    assert said(capsys) == ["Training ends after step 1: a callback asked for it (trainer.should_stop)"]
