"""A loss that is not a number stops training, without a step that waits for a GPU to look at it."""

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

MOST_STEPS = 64
"""Batches behind that the host's look at losses may be; then it waits."""


@dataclass
class _Seen:
    """A loss on its way to the host, and what to say where it is not a number."""

    loss: HostCopy
    step: int
    ids: Sequence[str]


class LossCheck:
    """Looks whether losses are numbers: at once, or on a GPU some steps later, when they have arrived at the host.

    In the meantime, a step of the optimizer changes nothing where the loss of one of its batches is not a number, which
    is found on the device.
    """

    def __init__(self) -> None:
        self._on_their_way: deque[_Seen] = deque()
        self._not_finite: Tensor | None = None

    def see(self, loss: Tensor, step: int, ids: Sequence[str], *, later: bool) -> None:
        """Takes a batch's loss.

        Args:
            loss: A floating-point scalar.
            step: The optimizer's step that it belongs to.
            ids: Ids of the batch's questions.
            later: Whether to look at it when it has arrived, rather than now; for a loss on a GPU, and optimizers
                that pass `skips_steps`.

        Raises:
            UserError: Where it, or one before it, is not a number.
        """
        loss = loss.detach()
        self._on_their_way.append(_Seen(HostCopy(loss), step, ids))
        if not later:
            self.finish()
            return
        not_finite = torch.isfinite(loss).logical_not().float()
        self._not_finite = not_finite if self._not_finite is None else torch.maximum(self._not_finite, not_finite)
        self._look(MOST_STEPS)

    def before_step(self, optimizer: Optimizer) -> None:
        """Has the optimizer's step change nothing where a loss since the last one is not a number."""
        if self._not_finite is not None:
            if torch.distributed.is_initialized():  # or weights would differ from now on
                torch.distributed.all_reduce(self._not_finite, torch.distributed.ReduceOp.MAX)
            setattr(optimizer, "found_inf", self._not_finite)  # noqa: B010 - where a GradScaler puts its own
        self._not_finite = None

    def finish(self) -> None:
        """Waits for all losses that are on their way.

        Raises:
            UserError: Where one is not a number.
        """
        self._look(0)

    def _look(self, most: int) -> None:
        """Looks at the losses that have arrived, and waits until no more than ``most`` have not."""
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


def skips_steps(optimizer: Optimizer) -> bool:
    """Whether an optimizer's step can be told on the device to change nothing: torch's fused ones can."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))
