"""Start and end logits of many windows, one after the other, in memory or on disk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
