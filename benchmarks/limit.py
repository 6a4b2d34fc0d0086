"""The floating-point rate of training as a share of that of a matrix product.

Counted are the products of matrices in the forward and backward pass of our training step, without what surrounds
them (norms, activations, dropout, the loss), so that the share says how much time goes to what has to be done. The
measure is one product of as many rows as the batch has tokens with a square matrix of the model's width.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.harness import Row, Size, best_of, main, row
from benchmarks.models import DISTILBERT, MINILM, Accelerator, Shape, make_module, make_trainer, quiet, write_model
from qa_lightning.records import Batch

BAR = 75.0
"""Percent."""


class Plan(NamedTuple):
    """The size of a measurement.

    Attributes:
        shape: Which model.
        batch: Windows in the batch.
        length: Tokens in each.
        repeats: How often it is trained on; the fastest counts.
    """

    shape: Shape
    batch: int
    length: int
    repeats: int


PLANS: dict[Size, tuple[Plan, ...]] = {
    "small": (Plan(MINILM, batch=8, length=176, repeats=2),),
    "full": (Plan(DISTILBERT, batch=16, length=176, repeats=6), Plan(MINILM, batch=16, length=176, repeats=6)),
}


def full_batch(windows: int, length: int) -> Batch:
    """Windows without padding: a special token, a question of 14 tokens, another, and the context."""
    place = torch.arange(length).expand(windows, -1)
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(16, length, (2, windows, 1), generator=generator).sort(dim=0).values
    return Batch(
        inputs={
            "input_ids": torch.randint(5, 20_000, (windows, length), generator=generator),
            "attention_mask": torch.ones(windows, length, dtype=torch.int64),
            "token_type_ids": (place >= 16).long(),
        },
        question_mask=(place > 0) & (place < 15),
        context_mask=place >= 16,
        null_position=torch.zeros(windows, dtype=torch.int64),
        starts=labels[0],
        ends=labels[1],
        ids=[str(number) for number in range(windows)],
    )


def operations(network: Any, windows: int, length: int, *, backward: bool = True) -> int:
    """Counts floating-point operations of the matrix products in a forward and, if requested, a backward pass.

    A linear layer takes two for each of its weights and each token; attention takes two products of the tokens by those
    that they see by the width: all, or those of a sliding window. Where positions are relative, as in DeBERTa, each of
    their tables takes one more. The backward pass takes twice what the forward pass does (Kaplan et al., 2020, 2.1).
    """
    weights = sum(module.weight.numel() for module in network.modules() if isinstance(module, nn.Linear))
    config = network.config
    seen = {"sliding_attention": min(length, getattr(config, "local_attention", length) + 1)}
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
    relative = 2 * getattr(config, "position_buckets", 0) * len(getattr(config, "pos_att_type", None) or ())
    attention = sum(4 * seen.get(kind, length) + 2 * relative for kind in kinds) * config.hidden_size
    return (3 if backward else 1) * windows * length * (2 * weights + attention)


def work(network: nn.Module, lengths: NDArray[np.int64], *, backward: bool) -> float:
    """Counts the floating-point operations of an average window.

    Args:
        network: The model.
        lengths: Tokens of each window; ``[windows]``.
        backward: Whether they are trained on.
    """
    kinds, counts = np.unique(lengths, return_counts=True)
    pairs = zip(counts.tolist(), kinds.tolist(), strict=True)
    whole = sum(operations(network, windows, length, backward=backward) for windows, length in pairs)
    return whole / len(lengths)


def matrix_rate(
    rows: int, width: int, repeats: int, dtype: torch.dtype = torch.float32, accelerator: Accelerator = "cpu"
) -> float:
    """Floating-point operations per second of a product ``[rows, width] @ [width, width]``, at its fastest."""
    left, right = (torch.randn(size, width, dtype=dtype, device=accelerator) for size in (rows, width))

    def multiply() -> None:
        torch.mm(left, right)
        if accelerator == "cuda":
            torch.cuda.synchronize()

    return 2 * rows * width * width / best_of(multiply, repeats)


class Stopwatch(pl.Callback):
    """Keeps how long the forward and backward pass of each step took."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._start = 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        """Starts."""
        self._start = time.perf_counter()

    def on_after_backward(self, *_: Any) -> None:
        """Stops."""
        self.seconds.append(time.perf_counter() - self._start)


def measure(plan: Plan) -> Row:
    """Runs the benchmark at a size."""
    watch = Stopwatch()
    batches: Any = [full_batch(plan.batch, plan.length)] * (1 + plan.repeats)
    with tempfile.TemporaryDirectory() as temporary, quiet():
        folder = Path(temporary)
        module = make_module(write_model(plan.shape, folder))
        make_trainer(folder, watch).fit(module, DataLoader(batches, batch_size=None))
    achieved = operations(module.model, plan.batch, plan.length) / min(watch.seconds[1:])

    tokens, width = plan.batch * plan.length, module.model.config.hidden_size
    product = matrix_rate(tokens, width, 5 * plan.repeats)
    return row(
        "limit",
        f"% of a matrix product's rate, {plan.shape.name}, {plan.length} tokens, float32",
        100 * achieved / product,
        bar=BAR if plan.shape is DISTILBERT else None,
        unit="%",
        note=f"{achieved / 1e9:.0f} of {product / 1e9:.0f} GFLOP/s",
    )


def run(size: Size) -> list[Row]:
    """Runs the benchmark."""
    return [measure(plan) for plan in PLANS[size]]


if __name__ == "__main__":
    main(run, __doc__)
