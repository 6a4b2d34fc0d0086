"""Logits of heads that score pairs: those of ends are given for each start, ``[batch, length, length]``."""

from __future__ import annotations

import torch
from torch import Tensor


def scores_pairs(end_logits: Tensor) -> bool:
    """Whether end logits are those of each end given each start, rather than one of each token."""
    return end_logits.ndim == 3


def near_ends(end_logits: Tensor, width: int, fill: float) -> Tensor:
    """Selects the logits of the ends that are at a start or right of it, at most ``width - 1`` tokens.

    Args:
        end_logits: Those of each end given each start; ``[batch, start, end]``.
        width: Most tokens of a span.
        fill: What stands behind the last token.

    Returns:
        ``[batch, start, width]``.
    """
    batch, length, _ = end_logits.shape
    place = torch.arange(length, device=end_logits.device)
    ends = place[:, None] + torch.arange(width, device=end_logits.device)
    near = end_logits.gather(2, ends.clamp(max=length - 1).expand(batch, -1, -1))
    return near.masked_fill(ends >= length, fill)


def end_logits_of(end_logits: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    """Gathers the end logits of spans.

    Args:
        end_logits: ``[batch, length]``, or those of each end given each start, ``[batch, start, end]``.
        starts: First tokens; int64 ``[batch, spans]``.
        ends: Last tokens; int64 ``[batch, spans]``.

    Returns:
        ``[batch, spans]``.
    """
    if not scores_pairs(end_logits):
        return end_logits.gather(1, ends)
    return end_logits.flatten(1).gather(1, starts * end_logits.shape[2] + ends)


def pair_logits(start_logits: Tensor, end_logits: Tensor) -> Tensor:
    """Computes the score of each pair of a start and an end, from left to right or not; float32.

    Args:
        start_logits: ``[batch, length]``.
        end_logits: ``[batch, length]``, or those of each end given each start, ``[batch, start, end]``.

    Returns:
        ``[batch, start, end]``.
    """
    ends = end_logits if scores_pairs(end_logits) else end_logits[:, None]
    return start_logits[:, :, None].float() + ends.float()


def pointer_logits(
    start_logits: Tensor, end_logits: Tensor, mask: Tensor, null_position: Tensor
) -> tuple[Tensor, Tensor]:
    """Computes how well each token starts, and ends, any span: the logarithm of the sum over the spans.

    What a softmax makes of them are the probabilities of a start, whatever the end, and of an end, whatever the start.

    Args:
        start_logits: ``[batch, length]``.
        end_logits: Those of each end given each start; ``[batch, start, end]``.
        mask: Tokens that an answer may start or end at; bool ``[batch, length]``.
        null_position: Where null is scored, -1 where it cannot be; int64 ``[batch]``.

    Returns:
        Start and end logits, at the null position those of null alone; ``[batch, length]`` each.
    """
    pairs = pair_logits(start_logits, end_logits)
    valid = (mask[:, :, None] & mask[:, None, :]).triu()
    place = torch.arange(mask.shape[1], device=mask.device)
    null = place == null_position[:, None]
    valid |= null[:, :, None] & null[:, None, :]
    pairs = pairs.masked_fill(~valid, torch.finfo(pairs.dtype).min)
    return pairs.logsumexp(2), pairs.logsumexp(1)
