"""Start and end logits of many windows, one after the other, in memory or on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qa_lightning.utils.arrays import IntArray


@dataclass(frozen=True)
class WindowLogits:
    """The logits of a split's windows.

    Attributes:
        start: Start logits of every token; float32 ``[tokens]``.
        end: End logits; float32 ``[tokens]``.
        bounds: Window ``i`` has the tokens ``bounds[i]`` to ``bounds[i + 1]``; int64 ``[windows + 1]``.
        fingerprint: That of the teacher that they are of.
    """

    start: NDArray[np.float32]
    end: NDArray[np.float32]
    bounds: NDArray[np.int64]
    fingerprint: str

    def gather(self, rows: IntArray, width: int, *, pad_left: bool = False) -> NDArray[np.float32]:
        """Gathers those of a batch; float32 ``[2, batch, width]``, minus infinity at padding.

        Args:
            rows: Which windows; int ``[batch]``.
            width: Tokens of the batch's rows.
            pad_left: Whether rows are filled at their left.
        """
        first = self.bounds[rows][:, None]
        length = self.bounds[rows + 1][:, None] - first
        place = np.arange(width) - (width - length if pad_left else 0)
        real = (place >= 0) & (place < length)
        token = np.where(real, first + place, 0)
        return np.where(real, np.stack([self.start[token], self.end[token]]), np.float32(-np.inf))


def gather_logits(
    teachers: Sequence[WindowLogits], rows: IntArray, width: int, *, pad_left: bool, device: torch.device
) -> Tensor:
    """Gathers those of several teachers for a batch; float32 ``[teachers, 2, batch, width]``.

    Args:
        teachers: At least one.
        rows: As in `WindowLogits.gather`, as are the others.
        width: See there.
        pad_left: See there.
        device: Where they are wanted.
    """
    logits = torch.from_numpy(np.stack([each.gather(rows, width, pad_left=pad_left) for each in teachers]))
    # Without pinned memory, the host would wait for the GPU.
    return logits.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else logits
