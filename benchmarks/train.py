"""Windows trained per second, beside transformers' ``Trainer``: the same model, windows, threads and precision.

Ours is `QALightningModule` under Lightning's ``Trainer``, over the windows and batches of `QADataModule`. The peer is
``Trainer`` (a) as transformers' question-answering example runs it, in float32 with every window padded to 384, and (b)
at its best: windows padded to the longest of their batch, batches grouped by length, bfloat16. Features are made before
the clock starts. The steps that are timed are batches of each side's own epoch, taken evenly over their lengths.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import lightning.pytorch as pl
import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.harness import Row, Size, main, row
from benchmarks.models import DISTILBERT, MINILM, Shape, make_data, make_module, make_trainer, quiet, write_model
from qa_lightning.data.collate import WindowDataset
from qa_lightning.modeling.module import QALightningModule

Precision = Literal["32-true", "bf16-mixed"]
Batches = list[NDArray[np.int64]]

BATCH = 16
CLIP = 1.0
"""Both clip gradients to this norm: it is what ``Trainer`` does unless told otherwise."""

PADDED_BARS = {DISTILBERT.name: (3.0, 6.0), MINILM.name: (4.0, 7.0)}
"""By model, beside (a): ours in float32 and in bfloat16."""

BEST_BAR = 1.15
"""Beside (b), in bfloat16."""


class Plan(NamedTuple):
    """How much is measured.

    Attributes:
        shapes: Which models.
        questions: From so many an epoch is made; both sides sort pools of 50 batches by length, but ours smaller
            ones where that would be less than 8 pools.
        steps: Timed steps where lengths differ.
        padded_steps: Timed steps where all are padded to one length.
        warm_up: Steps before.
    """

    shapes: tuple[Shape, ...]
    questions: int
    steps: int
    padded_steps: int
    warm_up: int


PLANS: dict[Size, Plan] = {
    "small": Plan((MINILM,), 13_000, steps=6, padded_steps=2, warm_up=1),
    "full": Plan((DISTILBERT, MINILM), 13_000, steps=24, padded_steps=6, warm_up=2),
}


class Clock(pl.Callback):
    """Keeps when each training step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        """Looks at the clock."""
        self.ends.append(time.perf_counter())


def spread(batches: Batches, lengths: NDArray[np.int64], steps: int) -> Batches:
    """So many of an epoch's full batches, evenly over their lengths, in the epoch's order.

    Args:
        batches: The epoch.
        lengths: Tokens of each window.
        steps: How many; all where there are fewer.
    """
    size = max(map(len, batches))
    full = [rows for rows in batches if len(rows) == size]
    steps = min(steps, len(full))
    by_width = np.argsort([lengths[rows].max() for rows in full], kind="stable")
    middles = (2 * np.arange(steps) + 1) * len(full) // (2 * steps)
    return [full[i] for i in np.sort(by_width[middles])]


def warmed(batches: Batches, warm_up: int) -> Batches:
    """The batches behind some steps that are not timed."""
    return [batches[i % len(batches)] for i in range(warm_up)] + batches


def timed_fit(module: QALightningModule, loader: Any, folder: Path, precision: Precision) -> list[float]:
    """Trains a module on a loader's batches once, and tells when each step ended."""
    clock = Clock()
    with quiet():
        make_trainer(folder, clock, precision=precision, gradient_clip_val=CLIP).fit(module, loader)
    return clock.ends


def timed_trainer(
    network: nn.Module, dataset: WindowDataset, batches: Batches, folder: Path, *, padded: bool, bf16: bool
) -> list[float]:
    """The same by transformers' ``Trainer``.

    Args:
        network: The model, which is trained.
        dataset: Our windows; that they are those of transformers' example is shown elsewhere.
        batches: Rows of ``dataset``.
        folder: For what ``Trainer`` may write.
        padded: Whether features are padded to one length beforehand, as the example does, or batch by batch.
        bf16: Whether to train in bfloat16.
    """
    from datasets import Dataset
    from transformers import DataCollatorWithPadding, PrinterCallback, Trainer, TrainerCallback, TrainingArguments
    from transformers import default_data_collator as default_collator

    from benchmarks.data import tokenizer

    ends: list[float] = []

    class StepClock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

    made = Dataset.from_list(list(features(dataset, np.concatenate(batches), padded=padded)))
    trainer = Trainer(
        model=network,
        args=TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=len(batches[0]),
            num_train_epochs=1,
            max_grad_norm=CLIP,
            bf16=bf16,
            use_cpu=True,
            train_sampling_strategy="sequential",  # the features lie in the order of the batches
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=made,
        data_collator=default_collator if padded else DataCollatorWithPadding(tokenizer()),
        callbacks=[StepClock()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return ends


def features(dataset: WindowDataset, rows: NDArray[np.int64], *, padded: bool) -> Iterator[dict[str, Any]]:
    """Windows as the example's features, unpadded or padded to 384 tokens."""
    for row_ in rows:
        batch = dataset[np.array([row_])]
        feature: dict[str, Any] = {name: values[0].tolist() for name, values in batch.inputs.items()}
        if padded:
            missing = 384 - len(feature["input_ids"])
            feature = {name: values + [0] * missing for name, values in feature.items()}  # pad id, type and mask
        yield feature | {"start_positions": batch.starts[0, 0].item(), "end_positions": batch.ends[0, 0].item()}


def grouped(lengths: NDArray[np.int64]) -> Batches:
    """An epoch of ``Trainer`` with ``train_sampling_strategy="group_by_length"``."""
    from transformers.trainer_pt_utils import LengthGroupedSampler

    order = np.array(list(LengthGroupedSampler(BATCH, lengths=lengths.tolist())))
    return [order[start : start + BATCH] for start in range(0, len(order), BATCH)]


def rate(ends: Sequence[float], warm_up: int) -> float:
    """Windows per second over the steps behind the warm-up."""
    return BATCH * (len(ends) - warm_up) / (ends[-1] - ends[warm_up - 1])


def measure(plan: Plan) -> list[Row]:
    """The benchmark at a size.

    Raises:
        ImportError: Without accelerate, which ``Trainer`` needs.
    """
    rows = []
    for shape in plan.shapes:
        with tempfile.TemporaryDirectory() as temporary:
            rows += _of_shape(shape, plan, write_model(shape, Path(temporary)))
    return rows


def _of_shape(shape: Shape, plan: Plan, folder: Path) -> list[Row]:
    whole = make_data(folder, plan.questions, "train", batch_size=BATCH).train_dataloader()
    dataset = whole.dataset
    assert isinstance(dataset, WindowDataset)
    lengths = dataset.lengths
    picked = warmed(spread(list(whole.sampler), lengths, plan.steps), plan.warm_up)
    loader = DataLoader(dataset, batch_size=None, sampler=picked)
    example = warmed(picked[-plan.padded_steps :], plan.warm_up)
    best = warmed(spread(grouped(lengths), lengths, plan.steps), plan.warm_up)

    # Each begins with the same weights.
    as_example = timed_trainer(make_module(folder).model, dataset, example, folder, padded=True, bf16=False)
    at_best = timed_trainer(make_module(folder).model, dataset, best, folder, padded=False, bf16=True)
    in_fp32 = rate(timed_fit(make_module(folder), loader, folder, "32-true"), plan.warm_up)
    in_bf16 = rate(timed_fit(make_module(folder), loader, folder, "bf16-mixed"), plan.warm_up)

    a, b = rate(as_example, plan.warm_up), rate(at_best, plan.warm_up)
    bars = PADDED_BARS.get(shape.name, (None, None))
    lines = (
        ("float32, beside the example's float32", in_fp32, a, bars[0]),
        ("bfloat16, beside the example's float32", in_bf16, a, bars[1]),
        ("bfloat16, beside Trainer at its best", in_bf16, b, BEST_BAR),
    )
    return [
        row("train", f"windows/s, {shape.name}, {what}", ours, peer=peer, bar=bar, unit="windows/s")
        for what, ours, peer, bar in lines
    ]


def run(size: Size) -> list[Row]:
    """The benchmark."""
    return measure(PLANS[size])


if __name__ == "__main__":
    main(run, __doc__)
