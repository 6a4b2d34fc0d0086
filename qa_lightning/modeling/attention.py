"""Attention as transformers calls it, with what its own kernels lack: fast dropout on CPUs, and packed windows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from qa_lightning.modeling.dropout import FastDropout, fast_dropout
from qa_lightning.modeling.network import quiet_transformers

ATTENTION = "qa_lightning_sdpa"
"""What transformers knows this attention by."""


def use_fast_dropout(network: Any, attn_implementation: str | None = None) -> None:
    """Has a network of transformers draw its dropout masks faster, also those of ``sdpa`` attention.

    Nothing else changes: in evaluation it computes what it did before, and it is saved as it would have been.

    Args:
        network: The network, on a CPU.
        attn_implementation: The attention kernel that it was loaded with; None: the network's own choice.
    """
    for module in network.modules():
        if type(module) is nn.Dropout:
            module.__class__ = FastDropout
    use_our_attention(network, attn_implementation)


def use_our_attention(network: Any, attn_implementation: str | None = None) -> bool:
    """Puts `attend` in the place of ``sdpa`` attention, and tells whether the network has that."""
    from transformers import AttentionInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    def attention(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        *,
        packed: Tensor | None = None,
        **options: Any,
    ) -> Any:
        """Attention as transformers calls it; whatever has no dropout, or is not plain, goes to torch's kernels."""
        if packed is not None:
            query, key, value = (
                unpacked(one[0].transpose(0, 1), packed).transpose(1, 2) for one in (query, key, value)
            )
            result, weights = attention(module, query, key, value, packed[:, None, None], **options)
            return result[packed][None], weights
        dropout = options.get("dropout", 0.0)
        masked = not getattr(module, "is_causal", True) if mask is None else mask.dtype == torch.bool
        plain = masked and query.shape[1] == key.shape[1] and options.get("position_bias") is None
        fast = query.device.type == "cpu" and not torch.compiler.is_compiling()
        if not (plain and fast and 0 < dropout < 1):
            return sdpa_attention_forward(module, query, key, value, mask, **options)
        scaling = options.get("scaling") or query.shape[-1] ** -0.5
        return attend(query, key, value, mask, scaling, dropout).transpose(1, 2).contiguous(), None

    if network.get_correct_attn_implementation(attn_implementation) != "sdpa":
        return False
    AttentionInterface.register(ATTENTION, attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    with quiet_transformers():  # which tells that an older network's attention cannot be exchanged
        network.set_attn_implementation(ATTENTION)
    return True


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
        return fast_dropout(weights, dropout) @ value


def unpacked(values: Tensor, real: Tensor) -> Tensor:
    """Tokens that stood one behind the other, as rows of a batch again, with zeros for padding.

    Args:
        values: A value for each real token; ``[tokens, ...]``.
        real: Where the batch has a token; bool ``[batch, length]``.

    Returns:
        ``[batch, length, ...]``.
    """
    rows = values.new_zeros(*real.shape, *values.shape[1:])
    rows[real] = values
    return rows
