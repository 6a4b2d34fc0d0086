"""Stops training where a loss is not finite, without making the host wait for the GPU in each step."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from qa_lightning.utils.errors import UserError
from qa_lightning.utils.host_copies import HostCopy

MAX_PENDING_LOSSES = 64
"""Most losses that the host has not checked yet; at more, it waits."""


@dataclass
class _PendingLoss:
    """A loss that is being copied to the host, with the step and ids for the error message."""

    loss: HostCopy
    step: int
    ids: Sequence[str]


class LossCheck:
    """Checks that losses are finite: at once, or on a GPU some steps later, when they have arrived at the host.

    In the meantime, the optimizer skips a step, decided on the device, where the loss of one of its batches is not
    finite.
    """

    def __init__(self) -> None:
        self._on_their_way: deque[_PendingLoss] = deque()
        self._not_finite: Tensor | None = None

    def add(self, loss: Tensor, step: int, ids: Sequence[str], *, defer: bool) -> None:
        """Adds a batch's loss.

        Args:
            loss: A floating-point scalar.
            step: The optimizer's step that it belongs to.
            ids: Ids of the batch's questions.
            defer: Whether to check it when it has arrived, rather than now; for a loss on a GPU, and optimizers
                that pass `can_skip_steps`.

        Raises:
            UserError: Where it, or an earlier one, is not finite.
        """
        loss = loss.detach()
        self._on_their_way.append(_PendingLoss(HostCopy(loss), step, ids))
        if not defer:
            self.finish()
            return
        not_finite = torch.isfinite(loss).logical_not().float()
        self._not_finite = not_finite if self._not_finite is None else torch.maximum(self._not_finite, not_finite)
        self._check_arrived(MAX_PENDING_LOSSES)

    def before_step(self, optimizer: Optimizer) -> None:
        """Makes the optimizer skip its step where a loss since the last step is not finite.

        Args:
            optimizer: The optimizer.
        """
        if self._not_finite is not None:
            if torch.distributed.is_initialized():  # or weights would differ from now on
                torch.distributed.all_reduce(self._not_finite, torch.distributed.ReduceOp.MAX)
            setattr(optimizer, "found_inf", self._not_finite)  # noqa: B010 - where a GradScaler puts its own
        self._not_finite = None

    def finish(self) -> None:
        """Waits for all losses and checks them.

        Raises:
            UserError: Where one is not finite.
        """
        self._check_arrived(0)

    def _check_arrived(self, most: int) -> None:
        """Checks the losses that have arrived, and waits until at most ``most`` are still being copied."""
        while self._on_their_way:
            seen = self._on_their_way[0]
            if not seen.loss.has_arrived() and len(self._on_their_way) <= most:
                return
            loss = seen.loss.wait().item()
            self._on_their_way.popleft()
            if not math.isfinite(loss):
                self._on_their_way.clear()
                raise UserError(
                    f"the loss is {loss} at step {seen.step}, in the batch with the questions "
                    f"{', '.join(dict.fromkeys(seen.ids))}; lower the learning rate, or look at these"
                )


def can_skip_steps(optimizer: Optimizer) -> bool:
    """Whether an optimizer can skip a step by a flag on the device, as torch's fused ones can."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))
