"""How far two predictions of the same windows are apart."""

from __future__ import annotations

import torch
from torch import Tensor

from qa_lightning.modeling.objective import Logits


def symmetric_divergence(logits: Logits, others: Logits, mask: Tensor) -> Tensor:
    """Computes the mean over starts and ends of ``½ [KL(p ‖ q) + KL(q ‖ p)]``, in float32.

    The probabilities are over real positions, as those of the loss are. Gradients flow into both.

    Args:
        logits: Start and end logits, whose softmax is p; floating point ``[batch, length]`` each.
        others: Those whose softmax is q.
        mask: Whether a position is a real one; bool ``[batch, length]``.

    Returns:
        The divergence of each window, not negative but for rounding; float32 ``[batch]``.
    """
    of_start, of_end = (_jeffreys(ours, theirs, mask) for ours, theirs in zip(logits, others, strict=True))
    return (of_start + of_end) / 2


def _jeffreys(ours: Tensor, theirs: Tensor, mask: Tensor) -> Tensor:
    # Finite, so that what it masks has gradient zero, not NaN.
    never = torch.finfo(torch.float32).min
    p, q = (logits.float().masked_fill(~mask, never).log_softmax(-1) for logits in (ours, theirs))
    # KL(p ‖ q) + KL(q ‖ p) = Σ (p - q) (log p - log q)
    return ((p.exp() - q.exp()) * (p - q).masked_fill(~mask, 0.0)).sum(-1) / 2
