"""The training objective, as a pure function of logits."""

from __future__ import annotations

import torch
from torch import Tensor


def span_loss(
    start_logits: Tensor, end_logits: Tensor, attention_mask: Tensor, starts: Tensor, ends: Tensor
) -> tuple[Tensor, Tensor]:
    """Computes half the negative marginal log-likelihood of the gold spans of each window.

    ``-½ log Σ p(start) p(end)`` over the golds (Clark and Gardner, 2018, over spans); with one gold this is the
    usual mean of two cross-entropies. The probabilities are over real positions: padding gets none.

    Args:
        start_logits: Scores of each token as the first; floating point, ``[batch, length]``.
        end_logits: Scores of each token as the last; floating point, ``[batch, length]``.
        attention_mask: 1 at real positions; int64 ``[batch, length]``.
        starts: First tokens of the golds, padded with -1; int64 ``[batch, golds]``.
        ends: Their last tokens, inclusive, padded with -1; int64 ``[batch, golds]``.

    Returns:
        The loss of each window, float32 ``[batch]``, zero where it has no gold, and whether it has one, bool
        ``[batch]``.
    """
    never = torch.finfo(torch.float32).min  # finite, so that what it masks has gradient zero, not NaN
    padding = attention_mask == 0
    start, end = (
        logits.float().masked_fill(padding, never).log_softmax(-1).gather(1, places.clamp(min=0))
        for logits, places in ((start_logits, starts), (end_logits, ends))
    )
    labelled = starts[:, 0] >= 0
    likelihood = (start + end).masked_fill(starts < 0, never).logsumexp(-1)
    return torch.where(labelled, -likelihood / 2, 0.0), labelled
