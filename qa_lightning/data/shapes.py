"""Chooses the few shapes that batches have where each new shape is costly, from the lengths of the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MULTIPLE = 8
"""Lengths of batches are multiples of this, as the matrix units of GPUs like them, but for the longest."""

_MOST_STEPS = 512
"""Multiples up to the longest window at most; for longer ones, these are multiples of more."""


@dataclass(frozen=True)
class Shapes:
    """Shapes of batches: some lengths, each with a number of windows.

    Attributes:
        lengths: Tokens of the rows of each shape, ascending; int64 ``[shapes]``.
        windows: Windows in a batch of each; int64 ``[shapes]``.
        row_tokens: Tokens of the one row in which the windows of a batch stand one behind the other; None: each window
            has a row of its own, padded to the length of its shape.
    """

    lengths: NDArray[np.int64]
    windows: NDArray[np.int64]
    row_tokens: int | None = None

    @classmethod
    def of(cls, lengths: NDArray[np.int64], count: int, windows: Callable[[NDArray[np.int64]], object]) -> Shapes:
        """Chooses the shapes with the least padding.

        Args:
            lengths: Tokens in each window; ``[windows]``, not empty.
            count: Most shapes.
            windows: From lengths of batches to how many windows they have, such as ``lambda lengths: 4096 // lengths``.
        """
        chosen = least_padding_lengths(lengths, count)
        return cls(chosen, np.broadcast_to(np.asarray(windows(chosen), dtype=np.int64), chosen.shape))

    @classmethod
    def packed(cls, lengths: NDArray[np.int64], windows: int, row_tokens: int) -> Shapes:
        """Makes the one shape of packed batches.

        Args:
            lengths: Tokens in each window; ``[windows]``, not empty.
            windows: Most windows in a batch.
            row_tokens: Most tokens in a batch.
        """
        multiple = MULTIPLE * -(-row_tokens // MULTIPLE)
        return cls(np.array([lengths.max()]), np.array([windows]), multiple)

    @property
    def is_packed(self) -> bool:
        """Whether the windows of a batch stand in one row."""
        return self.row_tokens is not None

    def index_of(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """The index of the shortest shape that holds each of these lengths; int64, of the same size as ``lengths``."""
        return np.searchsorted(self.lengths, lengths)


def least_padding_lengths(lengths: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Chooses the lengths that windows are padded to, with the least padding over all of them.

    Found exactly, by dynamic programming over the multiples: the best choice of ``n`` lengths of which the longest is
    ``l`` is the best one of ``n - 1`` that ends at some shorter length, and ``l``.

    Args:
        lengths: Tokens in each window; ``[windows]``, not empty.
        count: Most lengths.

    Returns:
        At most ``count`` lengths, ascending, the last of which is that of the longest window; int64.
    """
    longest = int(np.max(lengths))
    multiple = MULTIPLE * -(-longest // (MULTIPLE * _MOST_STEPS))
    until = np.cumsum(np.bincount(-(-np.asarray(lengths, dtype=np.int64) // multiple)))
    # What windows may be rounded up to; no more than the longest has: the model may have no positions for it.
    ends = np.minimum(np.arange(len(until)) * multiple, longest)
    # Tokens that all windows up to an end take, first with one length, then with one more in each round.
    taken = ends * until
    before = []
    for _ in range(min(count, len(until) - 1) - 1):
        options = taken[:, None] + ends * (until - until[:, None])  # [end of the length before, end]
        options[ends[:, None] >= ends] = np.iinfo(np.int64).max
        options[0] = ends * until
        before.append(options.argmin(axis=0))
        taken = options.min(axis=0)
    chosen = [len(until) - 1]
    for step in reversed(before):
        chosen.append(int(step[chosen[-1]]))
    return ends[sorted({end for end in chosen if end})]
