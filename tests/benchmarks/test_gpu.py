"""The benchmark on a GPU, as far as a CPU can show it: it gives figures, and counts what it should."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import gpu, harness, models, timed
from benchmarks.limit import operations
from benchmarks.models import TINY, Shape

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]

TINY_ROBERTA = Shape(
    "a tiny RoBERTa",
    {**models.ROBERTA.config, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    | {"intermediate_size": 64, "vocab_size": models.VOCABULARY},
)

PLAN = gpu.Plan(
    (TINY_ROBERTA,),
    questions=100,
    validated=20,
    steps=2,
    padded_steps=1,
    warm_up=1,
    product=64,
    compiled=False,
)


class Event:
    """Stands for CUDA's: the GPU comes to each two milliseconds after the one before."""

    made = 0

    def __init__(self, *, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.time = 2 * Event.made
        Event.made += 1

    def elapsed_time(self, other: Event) -> float:
        return other.time - self.time


def test_a_gpu_tells_when_it_came_to_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waited.append(True))
    clock = timed.Clock("cuda")
    for _ in range(3):
        clock.look()
    assert not waited
    assert clock.seconds() == [0.0, 0.002, 0.004]
    assert waited


def test_work_is_that_of_each_window_alone(tmp_path: Path) -> None:
    network = models.make_module(models.write_model(TINY, tmp_path)).model
    lengths = np.array([20, 30, 20])
    alone = [operations(network, 1, length) for length in (20, 30, 20)]
    assert gpu.work(network, lengths, backward=True) == sum(alone)
    assert gpu.work(network, lengths, backward=False) == sum(alone) // 3


def test_the_pace_is_that_behind_the_warm_up(tmp_path: Path) -> None:
    network = models.make_module(models.write_model(TINY, tmp_path)).model
    lengths = np.array([10, 20, 30, 40])
    batches = [np.array([0, 1]), np.array([2, 3])]
    pace = gpu.train_pace(network, lengths, batches, [7.0, 7.5], warm_up=1)
    assert pace.windows == 2 / 0.5
    assert pace.operations == gpu.work(network, lengths[2:], backward=True) / 0.5


def test_figures_beside_both_peers() -> None:
    rows = gpu.measure(PLAN, "cpu")
    assert {one.benchmark for one in rows} == {"gpu"}
    assert [one.unit for one in rows] == [
        "TFLOP/s",
        *["windows/s", "%", "s"] * 4,
    ]
    for one in rows[1:]:
        assert one.peer is not None
        assert all(math.isfinite(value) and value > 0 for value in (one.figure, one.peer))
    rate, share, seconds = rows[1:4]
    windows = 100
    assert seconds.figure == pytest.approx(windows / rate.figure)
    assert seconds.peer == pytest.approx(windows / rate.peer)
    assert seconds.ratio == pytest.approx(rate.ratio)
    assert share.figure < 100


def test_ours_stands_alone_where_the_peer_lacks_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "find_spec", lambda package: None if package == "accelerate" else package)
    for name in ("timed_trainer", "timed_predict"):
        monkeypatch.setattr(gpu, name, lambda *_, **__: pytest.fail("there is none"))
    rows = gpu.measure(PLAN, "cpu")
    alone = [one for one in rows if "no Trainer, which needs accelerate" in one.note]
    assert [one.unit for one in alone] == ["windows/s", "%", "s"] * 2
    assert {one.peer for one in alone} == {None}


def test_validation_is_timed_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = models.write_model(TINY, tmp_path)
    data = models.make_data(folder, 12, "validation", eval_batch_size=1)
    module = models.make_module(folder)
    seen: list[bool] = []
    looks: list[int] = []

    class Counter(timed.Clock):
        """Tells how many batches were seen at each look."""

        def look(self) -> None:
            self._looks.append(len(seen))
            looks.append(len(seen))

    module.register_forward_hook(lambda *_: seen.append(True))
    monkeypatch.setattr(timed, "Clock", Counter)
    batches = len(data.val_dataloader()[0])
    assert batches > 2
    assert timed.timed_validation(module, data, folder, accelerator="cpu", warm_up=2) == batches
    assert looks == [0, 2, 2, 2 + batches]


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["benchmarks.gpu"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(SystemExit) as ended:
        harness.main(gpu.run, gpu.__doc__)
    assert ended.value.code == "benchmarks.gpu needs a GPU, and torch finds none here"  # text is exit status 1
