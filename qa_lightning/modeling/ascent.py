"""Gradients that are taken within a training step, before its own backward pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_SCALE = 2.0**10
"""What gradients are multiplied by, so that in float16 they do not vanish; a power of two, which rounds nothing."""


def gradients_within_step(loss: Tensor, of: Sequence[Tensor]) -> list[Tensor | None]:
    """Computes gradients of a loss up to a constant factor; its graph stays, and nobody's ``grad`` is touched.

    Under DDP, they are those of this process's batch: nothing is exchanged.

    Args:
        loss: A scalar.
        of: What to compute the gradients with respect to.

    Returns:
        The gradients, of the shape and dtype of what they are of; None where the loss does not depend on it.
    """
    # As in a backward pass of Lightning's, in which each operation has the precision of its forward pass.
    with torch.autocast(loss.device.type, enabled=False):
        return list(torch.autograd.grad(loss * _SCALE, of, retain_graph=True, allow_unused=True))


def unit(gradient: Tensor, length: Tensor) -> Tensor:
    """Divides a gradient by its length, in float32; zero where the length is zero or not finite.

    Args:
        gradient: The gradient.
        length: A norm of it, or one for each of its parts, in a shape that broadcasts.
    """
    usable = torch.isfinite(length) & (length > 0)
    direction = gradient.float() / torch.where(usable, length, 1.0)
    return torch.where(usable, direction, 0.0)
