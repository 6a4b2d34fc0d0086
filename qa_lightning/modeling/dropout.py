"""Dropout for training on CPUs, where torch takes longer to draw a mask than to multiply the matrices around it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qa_lightning.modeling.network import quiet_transformers

ATTENTION = "sdpa_with_fast_dropout"
"""What transformers knows our attention by."""


def use_fast_dropout(network: Any, attn_implementation: str | None = None) -> None:
    """Has a network of transformers draw its dropout masks faster, also those of ``sdpa`` attention.

    Nothing else changes: in evaluation it computes what it did before, and it is saved as it would have been.

    Args:
        network: The network, on a CPU.
        attn_implementation: The attention kernel that it was loaded with; None: the network's own choice.
    """
    from transformers import AttentionInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    def attention(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
    ) -> Any:
        """Attention as transformers calls it; whatever has no dropout, or is not plain, goes to torch's kernels."""
        dropout = options.get("dropout", 0.0)
        masked = not getattr(module, "is_causal", True) if mask is None else mask.dtype == torch.bool
        plain = masked and query.shape[1] == key.shape[1] and options.get("position_bias") is None
        if not (plain and 0 < dropout < 1):
            return sdpa_attention_forward(module, query, key, value, mask, **options)
        scaling = options.get("scaling") or query.shape[-1] ** -0.5
        return attend(query, key, value, mask, scaling, dropout).transpose(1, 2).contiguous(), None

    for module in network.modules():
        if type(module) is nn.Dropout:
            module.__class__ = FastDropout
    if network.get_correct_attn_implementation(attn_implementation) == "sdpa":
        AttentionInterface.register(ATTENTION, attention)
        AttentionMaskInterface.register(ATTENTION, sdpa_mask)
        with quiet_transformers():  # which tells that an older network's attention cannot be exchanged
            network.set_attn_implementation(ATTENTION)


class FastDropout(nn.Dropout):
    """`torch.nn.Dropout` with a faster source of chance, which torch's generator seeds."""

    def forward(self, values: Tensor) -> Tensor:
        """The values with elements zeroed and the others scaled, in training; any shape and dtype."""
        return _Dropout.apply(values, self.p) if self.training and 0 < self.p < 1 else super().forward(values)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, dropout: float) -> Tensor:
    """Scaled dot-product attention with dropout of its weights.

    Args:
        query: Floating point ``[batch, heads, length, size]``.
        key: The same.
        value: The same.
        mask: Which keys each query may see; bool, broadcast to ``[batch, heads, length, length]``; None: all.
        scaling: What the products are multiplied by.
        dropout: Share of the weights that is zeroed.

    Returns:
        Of the query's shape and dtype.
    """
    products = query @ key.transpose(2, 3)
    allowed = products.new_zeros(1)
    if mask is not None:
        allowed = products.new_zeros(mask.shape).masked_fill_(~mask, torch.finfo(products.dtype).min)
    with torch.autocast(query.device.type, enabled=False):  # which would have half-precision weights in float32
        weights = torch.add(allowed, products, alpha=scaling).softmax(-1)
        return _Dropout.apply(weights, dropout) @ value


class _Dropout(torch.autograd.Function):
    """Zeroes a share of the elements, and scales the others to keep the mean."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, p: float) -> Any:
        kept = keep(values.shape, p)
        ctx.save_for_backward(kept)
        ctx.scale = 1 / (1 - p)
        return _masked(values, kept, ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (kept,) = ctx.saved_tensors
        return _masked(gradient, kept, ctx.scale), None


_masked = torch.ops.aten.native_dropout_backward  # times mask times scale, in one pass


def keep(shape: torch.Size, p: float) -> Tensor:
    """Which elements stay: each with the chance 1 - p, to within 1/131072; bool of that shape.

    Drawn by SFC64 (Doty-Humphrey, PractRand), four elements at a time, with a seed from torch's generator.
    """
    elements = math.prod(shape)
    generator = np.random.Generator(np.random.SFC64(int(torch.randint(2**62, ()))))
    quarters = generator.integers(0, 2**64, size=-(-elements // 4), dtype=np.uint64).view(np.int16)
    return (torch.from_numpy(quarters)[:elements] >= round(p * 2**16) - 2**15).view(shape)
