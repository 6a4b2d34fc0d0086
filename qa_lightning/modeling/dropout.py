"""Fast dropout for training on CPUs, where torch needs more time for a mask than for the matrix products around it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class FastDropout(nn.Dropout):
    """`torch.nn.Dropout` with a faster random generator, seeded by torch's."""

    def forward(self, values: Tensor) -> Tensor:
        """Applies dropout in training; any shape and dtype."""
        return fast_dropout(values, self.p) if self.training and 0 < self.p < 1 else super().forward(values)


def fast_dropout(values: Tensor, p: float) -> Tensor:
    """Zeroes each element with probability p, and scales the others by 1 / (1 - p).

    Args:
        values: Of any shape and floating-point dtype, on a CPU.
        p: Between 0 and 1, neither included.
    """
    return _Dropout.apply(values, p)  # type: ignore[no-untyped-call]


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, p: float) -> Any:
        kept = dropout_mask(values.shape, p)
        ctx.save_for_backward(kept)
        ctx.scale = 1 / (1 - p)
        return _masked(values, kept, ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (kept,) = ctx.saved_tensors
        return _masked(gradient, kept, ctx.scale), None


_masked = torch.ops.aten.native_dropout_backward  # times mask times scale, in one pass


def dropout_mask(shape: torch.Size, p: float) -> Tensor:
    """Draws which elements are kept, each with probability 1 - p, to within 1/131072; bool of that shape.

    Drawn by SFC64 (Doty-Humphrey, PractRand), four elements at a time, with a seed from torch's generator.
    """
    elements = math.prod(shape)
    generator = np.random.Generator(np.random.SFC64(int(torch.randint(2**62, ()))))
    quarters = generator.integers(0, 2**64, size=-(-elements // 4), dtype=np.uint64).view(np.int16)
    return (torch.from_numpy(quarters)[:elements] >= round(p * 2**16) - 2**15).view(shape)
