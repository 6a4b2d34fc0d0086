"""An attention function for transformers: packed windows, fast dropout on CPUs, no synchronisation with GPUs."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from qa_lightning.modeling.dropout import FastDropout, fast_dropout
from qa_lightning.modeling.network import quiet_transformers

ATTENTION_NAME = "qa_lightning_sdpa"
"""The name under which this attention is registered in transformers."""


class PackedWindows(NamedTuple):
    """The windows of a batch, packed one behind the other into one row of tokens.

    What is left of the row behind the last window is cut into fillers, which attend to themselves.

    Attributes:
        bounds: First token of each window and each filler, and the end of the row; int32 ``[windows + fillers + 1]``.
        longest: Tokens that a window or a filler has at most.
        window: The window of each token, the last one for a filler's; int64 ``[tokens]``.
        column: The place of each token in its window or filler; int64 ``[tokens]``.
        padded: The token at each place of the windows padded at their right; int64 ``[windows, longest]``.
        mask: Whether there is one; bool ``[windows, longest]``. A window without tokens sees one of another.
    """

    bounds: Tensor
    longest: int
    window: Tensor
    column: Tensor
    padded: Tensor
    mask: Tensor

    @classmethod
    def of(cls, lengths: Tensor, longest: int, tokens: int) -> PackedWindows:
        """Packs windows of these lengths into a row, without waiting for a GPU.

        Args:
            lengths: Tokens of each window, zero for none; int64 ``[windows]``.
            longest: Most tokens of a window.
            tokens: Tokens of the row, at least as many as in all windows.
        """
        windows, device = len(lengths), lengths.device
        ends = lengths.cumsum(0)
        fillers = torch.arange(1, -(-tokens // longest) + 1, device=device) * longest
        ends = torch.cat([ends, (ends[-1] + fillers).clamp(max=tokens)])
        starts = torch.cat([ends.new_zeros(1), ends])
        place = torch.arange(tokens, device=device)
        window = torch.searchsorted(ends, place, right=True)
        columns = torch.arange(longest, device=device)
        return cls(
            bounds=starts.int(),
            longest=longest,
            window=window.clamp(max=windows - 1),
            column=place - starts[window],
            padded=(starts[:windows, None] + columns).clamp(max=tokens - 1),
            mask=columns < lengths.clamp(min=1)[:, None],
        )


def use_fast_dropout(network: Any) -> None:
    """Enables the faster CPU dropout.

    Nothing else changes: in evaluation it computes what it did before, and it is saved as it would have been.

    Args:
        network: A network of transformers, on a CPU.
    """
    for module in network.modules():
        if type(module) is nn.Dropout:
            module.__class__ = FastDropout


def use_our_attention(network: Any, attn_implementation: str | None = None) -> bool:
    """Replaces a network's ``sdpa`` attention by `attention`.

    Args:
        network: A network of transformers.
        attn_implementation: The attention kernel that it was loaded with; None: the network's own choice.

    Returns:
        Whether the network has ``sdpa`` attention.
    """
    if network.get_correct_attn_implementation(attn_implementation) != "sdpa":
        return False
    register_attention()
    with quiet_transformers():  # which says that an older network's attention cannot be exchanged
        network.set_attn_implementation(ATTENTION_NAME)
    return True


def register_attention() -> None:
    """Has transformers know `attention` in this process, by the name that a network calls it by."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(ATTENTION_NAME, attention)
    AttentionMaskInterface.register(ATTENTION_NAME, padding_mask)


def padding_mask(*, attention_mask: Tensor | None = None, **options: Any) -> Tensor | None:
    """Makes the mask of ``sdpa`` attention as transformers does, but skips the check whether anything is masked.

    On a GPU, that check makes the host wait. Where windows are packed, there is no mask.

    Args:
        attention_mask: 1 at real tokens; ``[batch, length]``; None where windows are packed.
        **options: The other arguments of transformers' ``sdpa_mask``.
    """
    from transformers.masking_utils import sdpa_mask

    if attention_mask is None and options.get("allow_is_bidirectional_skip"):
        return None  # `attention` keeps to a sliding window by itself
    if attention_mask is not None and not _is_on_host(attention_mask):
        options |= {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}
    mask: Tensor | None = sdpa_mask(attention_mask=attention_mask, **options)
    return mask


def _is_on_host(tensor: Tensor) -> bool:
    """Whether the host can read a tensor without waiting for a device."""
    return tensor.device.type == "cpu"


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    *,
    packed: PackedWindows | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Computes scaled dot-product attention, with the signature of transformers' attention functions.

    Args:
        module: The layer.
        query: Floating point ``[batch, heads, length, size]``.
        key: The same.
        value: The same.
        mask: What `padding_mask` returned.
        packed: Where windows stand in the one row of the batch; None: they are rows of their own.
        options: What transformers adds: ``dropout``, ``scaling``, ``sliding_window``, and more.

    Returns:
        Floating point ``[batch, length, heads, size]``, and None in the place of weights.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    scaling = options.get("scaling") or query.shape[-1] ** -0.5
    dropout, reach = options.get("dropout", 0.0), options.get("sliding_window")
    if packed is not None and has_flash_kernel(query):
        query, key, value = (heads[0].transpose(0, 1) for heads in (query, key, value))
        return varlen_attention(query, key, value, packed, scaling, dropout, reach)[None], None
    if packed is not None:
        query, key, value = (heads[0][:, packed.padded].transpose(0, 1) for heads in (query, key, value))
        allowed = packed.mask[:, None, None]
        if reach is not None:
            allowed = allowed & sliding_window_mask(packed.longest, reach, allowed.device)
        result, _ = attention(module, query, key, value, allowed, **options | {"sliding_window": None})
        return result[packed.window, packed.column][None], None
    bidirectional = not getattr(module, "is_causal", True)
    if mask is None and bidirectional and reach is not None and query.shape[2] > reach:
        mask = sliding_window_mask(query.shape[2], reach, query.device)[None, None]
    masked = bidirectional if mask is None else mask.dtype == torch.bool
    plain = masked and query.shape[1] == key.shape[1] and options.get("position_bias") is None
    fast = query.device.type == "cpu" and not torch.compiler.is_compiling()
    if plain and fast and 0 < dropout < 1:
        return attention_with_fast_dropout(query, key, value, mask, scaling, dropout).transpose(1, 2).contiguous(), None
    return sdpa_attention_forward(module, query, key, value, mask, **options)


def has_flash_kernel(query: Tensor) -> bool:
    """Whether torch's flash attention takes sequences of variable length on a tensor's device, in its dtype."""
    return (
        query.device.type in ("cuda", "meta")
        and query.dtype in (torch.float16, torch.bfloat16)
        and query.shape[-1] % 8 == 0
        and query.shape[-1] <= 256
    )


def varlen_attention(
    query: Tensor, key: Tensor, value: Tensor, packed: PackedWindows, scaling: float, dropout: float, reach: int | None
) -> Tensor:
    """Computes scaled dot-product attention within the windows of a row, by torch's flash attention.

    What ``torch.nn.attention.varlen`` calls, which has no dropout, and what jagged tensors call, which compile anew for
    other bounds.

    Args:
        query: float16 or bfloat16 ``[tokens, heads, size]``, on a GPU.
        key: The same.
        value: The same.
        packed: Where windows begin and end.
        scaling: What the products are multiplied by.
        dropout: Share of the weights that is zeroed.
        reach: How near, in tokens, another must be to be seen: the distance is less; None: all are.

    Returns:
        Of the query's shape and dtype.
    """
    flash_attention = getattr(torch.ops.aten, "_flash_attention_forward")  # noqa: B009 - torch's own, by its name
    side = None if reach is None else reach - 1
    result: Tensor = flash_attention(
        query,
        key,
        value,
        packed.bounds,
        packed.bounds,
        packed.longest,
        packed.longest,
        dropout,
        False,  # is_causal
        False,  # return_debug_mask
        scale=scaling,
        window_size_left=side,
        window_size_right=side,
    )[0]
    return result


def sliding_window_mask(length: int, reach: int, device: torch.device) -> Tensor:
    """The mask of a sliding window: which positions are fewer than ``reach`` apart; bool ``[length, length]``."""
    place = torch.arange(length, device=device)
    return (place[:, None] - place).abs() < reach


def attention_with_fast_dropout(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, dropout: float
) -> Tensor:
    """Computes scaled dot-product attention with the faster CPU dropout.

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
