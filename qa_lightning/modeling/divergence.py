"""How far two predictions of the same windows are apart."""

from __future__ import annotations

import torch
from torch import Tensor

from qa_lightning.decoding.pairs import pair_logits, scores_pairs
from qa_lightning.modeling.objective import Logits


def symmetric_divergence(logits: Logits, others: Logits, mask: Tensor) -> Tensor:
    """Computes the mean over starts and ends of ``½ [KL(p ‖ q) + KL(q ‖ p)]``, in float32.

    Where a head scores pairs, it is half of that of the pairs, which it is in any case. The probabilities are over real
    positions, as those of the loss are. Gradients flow into both.

    Args:
        logits: Start and end logits, whose softmax is p; floating point ``[batch, length]`` each, those of ends given
            each start ``[batch, length, length]``.
        others: Those whose softmax is q.
        mask: Whether a position is a real one; bool ``[batch, length]``.

    Returns:
        The divergence of each window, not negative but for rounding; float32 ``[batch]``.
    """
    if scores_pairs(logits[1]):
        ours, theirs = (pair_logits(*pair).flatten(1) for pair in (logits, others))
        return _jeffreys(ours, theirs, (mask[:, :, None] & mask[:, None]).flatten(1)) / 2
    of_start, of_end = (_jeffreys(ours, theirs, mask) for ours, theirs in zip(logits, others, strict=True))
    return (of_start + of_end) / 2


def _jeffreys(ours: Tensor, theirs: Tensor, mask: Tensor) -> Tensor:
    # Finite, so that what it masks has gradient zero, not NaN.
    never = torch.finfo(torch.float32).min
    p, q = (logits.float().masked_fill(~mask, never).log_softmax(-1) for logits in (ours, theirs))
    # KL(p ‖ q) + KL(q ‖ p) = Σ (p - q) (log p - log q)
    return ((p.exp() - q.exp()) * (p - q).masked_fill(~mask, 0.0)).sum(-1) / 2
