"""Windows trained per second, beside transformers' ``Trainer``: the same model, windows, threads and precision.

Ours is `QALightningModule` under Lightning's ``Trainer``, over the windows and batches of `QADataModule`. The peer is
``Trainer`` (a) as transformers' question-answering example runs it, in float32 with every window padded to 384, and (b)
at its best: windows padded to the longest of their batch, batches grouped by length, bfloat16. Features are made before
the clock starts. The steps that are timed are batches of each side's own epoch, taken evenly over their lengths.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from benchmarks.harness import Row, Size, main, row
from benchmarks.models import DISTILBERT, MINILM, Shape, make_data, make_module, write_model
from benchmarks.timed import Batches, timed_fit, timed_trainer
from qa_lightning.data.collate import WindowDataset

BATCH = 16

PADDED_BARS = {DISTILBERT.name: (3.0, 6.0), MINILM.name: (4.0, 7.0)}
"""By model, beside (a): ours in float32 and in bfloat16."""

BEST_BAR = 1.15
"""Beside (b), in bfloat16."""


class Plan(NamedTuple):
    """The size of a measurement.

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


def grouped(lengths: NDArray[np.int64], batch_size: int = BATCH) -> Batches:
    """An epoch of ``Trainer`` with ``train_sampling_strategy="group_by_length"``."""
    from transformers.trainer_pt_utils import LengthGroupedSampler

    order = np.array(list(LengthGroupedSampler(batch_size, lengths=lengths.tolist())))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


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
    """Runs the benchmark."""
    return measure(PLANS[size])


if __name__ == "__main__":
    main(run, __doc__)
