"""The overhead of our training step over a bare PyTorch loop with the same batches, as a share of the loop's time.

The bare loop is the least that trains: forward, loss, backward, clipping, AdamW; its batches are tensors that lie
ready, while ours are built by the loader as training goes. Both start at the same weights, and have the same dropout:
that of `use_fast_dropout`, which our training enables on CPUs. The two run by turns, and of each step the fastest of
all turns counts, since what is looked for is smaller than the noise of a busy machine.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.harness import Row, Size, main, row
from benchmarks.models import MINILM, Shape, make_data, make_module, write_model
from benchmarks.timed import CLIP, Precision, timed_fit
from benchmarks.train import BATCH, spread
from qa_lightning.modeling.attention import use_fast_dropout
from qa_lightning.modeling.loss import span_loss
from qa_lightning.modeling.module import QALightningModule
from qa_lightning.modeling.optim import adamw
from qa_lightning.modeling.parameter_groups import parameter_groups
from qa_lightning.records import Batch

BAR = 3.0
"""Percent."""

LEARNING_RATE = 5e-5


class Plan(NamedTuple):
    """The size of a measurement.

    Attributes:
        shape: Which model.
        questions: What batches are made from.
        steps: Steps of a turn; the first is not counted.
        turns: How often each side trains.
        precisions: Of training.
    """

    shape: Shape
    questions: int
    steps: int
    turns: int
    precisions: tuple[Precision, ...]


PLANS: dict[Size, Plan] = {
    "small": Plan(MINILM, 2_000, steps=4, turns=2, precisions=("32-true",)),
    "full": Plan(MINILM, 13_000, steps=13, turns=4, precisions=("32-true", "bf16-mixed")),
}


def our_module(folder: Path, *, dropout: bool = True) -> QALightningModule:
    """The module that is trained, with the rate that the bare loop has."""
    return make_module(folder, dropout=dropout, learning_rate=LEARNING_RATE, lr_scheduler_type="constant")


def bare_network(folder: Path, *, dropout: bool = True) -> nn.Module:
    """The network that is trained in the bare loop: ours, as it is once our training on a CPU has begun."""
    network = our_module(folder, dropout=dropout).model
    use_fast_dropout(network)
    return network


def bare_loop(network: nn.Module, batches: list[Batch], precision: Precision) -> list[float]:
    """Trains a network on batches once, and returns when each step ended."""
    optimizer = adamw(parameter_groups(network, 0.0), LEARNING_RATE)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    ends = []
    for batch in batches:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
            output: Any = network(**batch.inputs)
            losses, _ = span_loss(
                output.start_logits, output.end_logits, batch.inputs["attention_mask"], batch.starts, batch.ends
            )
            loss = losses.mean()  # in training every window has a label
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        ends.append(time.perf_counter())
    return ends


def measure(plan: Plan) -> list[Row]:
    """Runs the benchmark at a size."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_model(plan.shape, Path(temporary))
        whole = make_data(folder, plan.questions, "train", batch_size=BATCH).train_dataloader()
        dataset: Any = whole.dataset
        picked = spread(list(whole.sampler), dataset.lengths, plan.steps)
        loader = DataLoader(dataset, batch_size=None, sampler=picked)
        return [_of_precision(plan, precision, loader, folder) for precision in plan.precisions]


def _of_precision(plan: Plan, precision: Precision, loader: DataLoader[Batch], folder: Path) -> Row:
    batches = list(loader)
    ours, bare = [], []
    for _ in range(plan.turns):
        ours.append(np.diff(timed_fit(our_module(folder), loader, folder, precision)))
        bare.append(np.diff(bare_loop(bare_network(folder), batches, precision)))
    our_seconds, bare_seconds = (float(np.min(turns, axis=0).sum()) for turns in (ours, bare))
    steps = len(batches) - 1
    return row(
        "overhead",
        f"% of a bare loop's step, {plan.shape.name}, {precision}",
        100 * (our_seconds / bare_seconds - 1),
        bar=BAR,
        higher_is_better=False,
        unit="%",
        note=f"{1000 * our_seconds / steps:.1f} ms against {1000 * bare_seconds / steps:.1f} ms a step",
    )


def run(size: Size) -> list[Row]:
    """Runs the benchmark."""
    return measure(PLANS[size])


if __name__ == "__main__":
    main(run, __doc__)
