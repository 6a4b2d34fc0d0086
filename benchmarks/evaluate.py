"""The time and memory of a validation beyond its forward passes.

Time: all that ``validate`` does once the data are read, to the last file written, less the seconds spent in the model's
own forward passes, which are measured in the same run. Memory: what the process comes to hold beyond what it held
before, with few windows and with many of the same questions and the same length; beside it the same where all logits
are gathered, and decoded in the end, as transformers' example does. What each further question adds, which is its
answers, is measured with twice as many questions.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import pad
from torch.utils.data import DataLoader

from benchmarks.decode import loops
from benchmarks.harness import Row, Size, in_child, main, memory, row
from benchmarks.models import MINILM, TINY, Shape, make_data, make_module, make_trainer, quiet, write_model
from qa_lightning.callbacks.results import Results
from qa_lightning.data.datamodule import QADataModule
from qa_lightning.modeling.module import QALightningModule

TIME_BAR = 5.0
"""Percent."""

MEMORY_BAR = 1.1
"""Most memory that many windows may take, as a multiple of that of few windows."""

BATCH = 32

_SHORT = {"max_length": 96, "max_question_length": 24}  # so that questions have several windows
_STRIDES = (8, 64)  # of few windows and of many


class Plan(NamedTuple):
    """The size of a measurement.

    Attributes:
        shape: The model whose time is measured; memory is measured with a tiny one.
        questions: Questions of the validation.
    """

    shape: Shape
    questions: int


PLANS: dict[Size, Plan] = {"small": Plan(MINILM, 300), "full": Plan(MINILM, 10_570)}


class Stopwatch:
    """Counts the seconds that are spent in a network's forward passes.

    Args:
        network: The network, to which it hooks itself.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        self.seconds = 0.0
        network.register_forward_pre_hook(self._start)
        network.register_forward_hook(self._stop)

    def _start(self, *_: Any) -> None:
        self.seconds -= time.perf_counter()

    def _stop(self, *_: Any) -> None:
        self.seconds += time.perf_counter()


def validate(module: QALightningModule, data: QADataModule, folder: Path) -> None:
    """A whole validation, with the files that it leaves."""
    with quiet():
        make_trainer(folder, Results()).validate(module, data.val_dataloader(), verbose=False)


@torch.inference_mode()
def gather(module: QALightningModule, data: QADataModule) -> dict[str, list[dict[str, Any]]]:
    """Computes the same answers from the gathered logits of all windows; it neither scores nor writes them."""
    dataset = data.splits["validation"][0].dataset
    rows = np.split(np.arange(len(dataset)), range(BATCH, len(dataset), BATCH))
    width = int(dataset.lengths.max())
    starts, ends = [], []
    for batch in DataLoader(dataset, batch_size=None, sampler=rows):
        missing = (0, width - batch.question_mask.shape[1])
        start_logits, end_logits = module.eval()(batch)
        starts.append(pad(start_logits, missing, value=-100.0))
        ends.append(pad(end_logits, missing, value=-100.0))
    examples = data.splits["validation"][0].table.select(["id", "context"]).to_pylist()
    return loops(examples, _Features(dataset), torch.cat(starts).numpy(), torch.cat(ends).numpy())


class _Features(Sequence[Any]):
    """The example's features, made on access, so that they take no memory: in the example, files hold them."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: Any) -> Any:
        if number >= len(self):
            raise IndexError(number)
        batch = self.dataset[np.array([number])]
        offsets = zip(batch.offsets[0].tolist(), batch.context_mask[0].tolist(), strict=True)
        return {"example_id": batch.ids[0], "offset_mapping": [span if inside else None for span, inside in offsets]}


def measure_memory(way: str, questions: str, doc_stride: str) -> dict[str, Any]:
    """Runs ``ours`` or ``peer`` in this process; returns its memory before, in MB, and the number of windows."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_model(TINY, Path(temporary))
        settings: dict[str, Any] = _SHORT | {"doc_stride": int(doc_stride)}
        data = make_data(folder, int(questions), "validation", eval_batch_size=BATCH, **settings)
        module = make_module(folder, **settings)
        before = memory(os.getpid())
        if way == "ours":
            validate(module, data, folder / "run")
        else:
            gather(module, data)
        return {"before": before, "windows": len(data.splits["validation"][0].dataset)}


def measure(plan: Plan) -> list[Row]:
    """Runs the benchmark at a size."""
    return [_time(plan), *_memory(plan)]


def _time(plan: Plan) -> Row:
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_model(plan.shape, Path(temporary))
        data = make_data(folder, plan.questions, "validation", eval_batch_size=BATCH)
        module = make_module(folder)
        watch = Stopwatch(module.model)
        start = time.perf_counter()
        validate(module, data, folder / "run")
        whole = time.perf_counter() - start
    return row(
        "evaluate",
        f"% on top of the forward passes, {plan.questions:,} questions, {plan.shape.name}",
        100 * (whole / watch.seconds - 1),
        bar=TIME_BAR,
        higher_is_better=False,
        unit="%",
        note=f"{whole - watch.seconds:.2f} s on top of {watch.seconds:.2f} s",
    )


def _memory(plan: Plan) -> list[Row]:
    peaks_of: dict[str, list[float]] = {"ours": [], "peer": []}
    windows = []
    for doc_stride in _STRIDES:
        for way, peaks in peaks_of.items():
            measured = in_child("benchmarks.evaluate", "measure_memory", way, plan.questions, doc_stride, watch=True)
            peaks.append(measured["peak"] - measured["before"])
        windows.append(measured["windows"])
    (few, many), (peer_few, peer_many) = peaks_of.values()
    times = windows[1] / windows[0]
    more = in_child("benchmarks.evaluate", "measure_memory", "ours", 2 * plan.questions, _STRIDES[0], watch=True)
    added = more["peak"] - more["before"] - few
    return [
        row(
            "evaluate",
            "peak MB above what was held before, many windows",
            many,
            peer=peer_many,
            higher_is_better=False,
            unit="MB",
            note=f"{windows[1]:,} windows; the peer gathers logits, and neither scores nor writes",
        ),
        row(
            "evaluate",
            f"times the peak of {windows[0]:,} windows that {times:.1f} times as many take",
            many / few,
            bar=MEMORY_BAR,
            higher_is_better=False,
            note=f"{few:.1f} and {many:.1f} MB; gathering {peer_few:.1f} and {peer_many:.1f} MB",
        ),
        row(
            "evaluate",
            "kB more at the peak for each further question",
            1000 * added / plan.questions,
            higher_is_better=False,
            unit="kB",
            note=f"{2 * plan.questions:,} questions take {added:.1f} MB more than half as many",
        ),
    ]


def run(size: Size) -> list[Row]:
    """Runs the benchmark."""
    return measure(PLANS[size])


if __name__ == "__main__":
    main(run, __doc__, measure_memory=measure_memory)
