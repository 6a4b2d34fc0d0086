"""Where the time of a training went: by a clock that stands still unless it is moved, and in a real training."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from qa_lightning.callbacks.time_report import PARTS, REST, Stopwatch, TimeReport
from tests.tiny import tiny_folder
from tests.training import make_data, make_module, make_trainer, trains, write_long

pytestmark = trains


class Clock:
    """What `time.perf_counter` says, until a test sets it forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)


def test_each_moment_counts_to_the_innermost_part(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, watch = Clock(monkeypatch), Stopwatch()
    clock.now += 1  # nothing runs yet
    with watch.profile("run_training_epoch"):
        clock.now += 2
        with watch.profile("[LightningModule]Module.optimizer_step"):
            clock.now += 4
            with watch.profile("[Strategy]Single.training_step"):
                clock.now += 8
                with watch.profile("[Callback]Unknown.some_hook"):
                    clock.now += 16
            with watch.profile("[Strategy]Single.backward"):
                clock.now += 32
            clock.now += 64
        clock.now += 128
    clock.now += 256
    with watch.profile("decoding"):
        clock.now += 512
    assert watch.seconds == {
        REST: 2 + 128,
        "training: optimizer": 4 + 64,
        "training: forward": 8 + 16,
        "training: backward": 32,
        "validation: decoding": 512,
    }


def test_work_that_fails_has_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, watch = Clock(monkeypatch), Stopwatch()

    def fail() -> None:
        clock.now += 1
        raise KeyError

    with pytest.raises(KeyError), watch.profile("backward"):
        fail()
    clock.now += 1
    with watch.profile("training_step"):
        clock.now += 1
    assert watch.seconds == {"training: backward": 1, "training: forward": 1}


def test_nothing_is_said_where_nothing_was_trained(capsys: pytest.CaptureFixture[str]) -> None:
    report = TimeReport()
    with report.stopwatch.profile("validation_step"):
        pass
    report.show()
    assert not capsys.readouterr().out


def test_a_training_by_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_folder(tmp_path / "model")
    squad = write_long(tmp_path / "squad.json")
    data: Any = make_data(folder, train=squad, validation_file=str(squad))
    report = TimeReport()
    trainer = make_trainer(tmp_path, report, profiler=report.stopwatch, max_epochs=2)
    trainer.fit(make_module(folder), data)
    # All but checkpoints and files, of which this trainer writes none.
    assert {*PARTS.values(), REST} - set(report.stopwatch.seconds) <= {"checkpoints", "validation: files"}

    loader = data.train_dataloader()
    masks = [
        batch.inputs["attention_mask"] for epoch in (0, 1) if not loader.sampler.set_epoch(epoch) for batch in loader
    ]
    tokens, positions = sum(int(mask.sum()) for mask in masks), sum(mask.numel() for mask in masks)
    report.stopwatch.seconds.clear()
    report.stopwatch.seconds |= {"training: forward": 3.0, "training: backward": 1.0, "validation: model": 6.0}
    report.show()
    shown = capsys.readouterr().out
    assert re.search(r"training: forward +│ +3\.0 +│ +30\.0%", shown)
    assert re.search(r"validation: model +│ +6\.0 +│ +60\.0%", shown)
    last = " ".join(shown.splitlines()[-2:])
    assert f"Trained on {tokens / 4:,.0f} tokens in a second" in last
    assert f"{1 - tokens / positions:.1%}" in last
