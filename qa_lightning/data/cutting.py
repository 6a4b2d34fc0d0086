"""Cuts the windows of an epoch into batches: by number, tokens or shapes, for little padding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qa_lightning.data.shapes import Shapes

RowNumbers = NDArray[np.int64]

BATCHES_PER_POOL = 50
"""Batches in a pool, where there are enough. Windows are sorted by length within a pool: larger pools mean less padding
and less randomness."""

MIN_POOLS = 8
"""Fewest pools in an epoch. If a small data set were a single pool, its batches would be the same in each epoch."""


@dataclass(frozen=True)
class BatchCutter:
    """How windows are cut into batches.

    Attributes:
        batch_size: Windows in a batch.
        tokens_per_batch: Tokens in a batch instead.
        shapes: The shapes that batches are to have; None: each has its own.
    """

    batch_size: int
    tokens_per_batch: int | None = None
    shapes: Shapes | None = None

    def count(self, lengths: RowNumbers) -> int:
        """Counts the batches that windows of these lengths (``[windows]``) make."""
        if self.shapes is None or self.shapes.is_packed:
            return number_of_batches(lengths, self.batch_size, self.tokens_per_batch)
        return _count_batches_by_shape(self.shapes, lengths)

    def cut(self, order: RowNumbers, lengths: RowNumbers, count: int, random: np.random.Generator) -> list[RowNumbers]:
        """Cuts windows into batches, neighbours alike in length.

        Args:
            order: The windows in an order in which those of a context are neighbours; they come into different
                batches.
            lengths: Tokens in each window; ``[windows]``.
            count: How many batches to make, at least as many as `count` says; the largest are cut in two where these
                are fewer.
            random: What chance comes from.
        """
        if self.shapes is not None and self.shapes.is_packed:
            return _balanced_batches(order, lengths, count, random)
        if self.shapes is not None:
            batches = _batches_by_shape(order, lengths, self.shapes)
        else:
            batches = self._batches_by_pool(order, lengths, count)
        return _split_largest(batches, count)

    def _batches_by_pool(self, order: RowNumbers, lengths: RowNumbers, count: int) -> list[RowNumbers]:
        pool = np.arange(len(order)) % max(MIN_POOLS, count // BATCHES_PER_POOL)
        # Up and down by turns, so that also a batch that is cut across two pools has windows of like length.
        order = order[np.lexsort((np.where(pool % 2, -1, 1) * lengths[order], pool))]
        # How much of what is cut off the order makes a batch: windows, or their tokens.
        sizes, size = (np.ones_like(lengths), self.batch_size)
        if self.tokens_per_batch is not None:
            sizes, size = lengths, self.tokens_per_batch
        batch = (np.cumsum(sizes[order]) - 1) // size
        return np.split(order, np.flatnonzero(np.diff(batch)) + 1)


def number_of_batches(lengths: RowNumbers, batch_size: int, tokens_per_batch: int | None = None) -> int:
    """Counts the batches of an epoch.

    Args:
        lengths: Tokens in each window; ``[windows]``.
        batch_size: Windows in a batch.
        tokens_per_batch: Tokens in a batch instead.
    """
    return -(-len(lengths) // batch_size) if tokens_per_batch is None else -(-int(lengths.sum()) // tokens_per_batch)


def packed_shape(
    lengths: RowNumbers, batch_size: int, tokens_per_batch: int | None = None, *others: RowNumbers
) -> Shapes:
    """The one shape of all batches of a training whose windows are packed.

    Args:
        lengths: Tokens in each window; ``[windows]``, not empty.
        batch_size: Windows in a batch.
        tokens_per_batch: Tokens in a batch instead.
        *others: The lengths of the windows of epochs that have equally many, but others.
    """
    epochs = (lengths, *others)
    count = max(number_of_batches(each, batch_size, tokens_per_batch) for each in epochs)
    most = max(_most_packed_tokens(each, count) for each in epochs)
    return Shapes.packed(np.concatenate(epochs), -(-len(lengths) // count), most)


def _most_packed_tokens(lengths: RowNumbers, count: int) -> int:
    """The most tokens that chance can put into one of so many batches."""
    longest_first = np.sort(lengths)[::-1]
    place, batch, run = _assign_to_batches(len(lengths), count)
    # The longest window that chance can put into each place: the first of its run.
    first = np.flatnonzero(np.diff(run, prepend=-1))
    longest = longest_first[first[np.searchsorted(first, place, side="right") - 1]]
    return int(np.bincount(batch, weights=longest).max())


def _assign_to_batches(windows: int, count: int) -> tuple[RowNumbers, RowNumbers, RowNumbers]:
    """Distributes windows that are sorted by length over batches, back and forth, as teams are chosen.

    Args:
        windows: How many there are.
        count: How many batches.

    Returns:
        The places in the order; the batch of each; and the number of the run of neighbours within which places are
        exchanged by chance; int64 ``[windows]`` each.
    """
    place = np.arange(windows)
    turn, seat = np.divmod(place, count)
    run = seat // max(MIN_POOLS, count // BATCHES_PER_POOL)
    return place, np.where(turn % 2, count - 1 - seat, seat), turn * (run.max(initial=0) + 1) + run


def _balanced_batches(
    order: RowNumbers, lengths: RowNumbers, count: int, random: np.random.Generator
) -> list[RowNumbers]:
    """Cuts windows into batches of equally many windows, up to one, and nearly equally many tokens."""
    order = order[np.argsort(-lengths[order], kind="stable")]
    _, batch, run = _assign_to_batches(len(order), count)
    order = order[np.lexsort((random.random(len(order)), run))]
    order = order[np.argsort(batch, kind="stable")]
    return np.split(order, np.cumsum(np.bincount(batch))[:-1])


def _batches_by_shape(order: RowNumbers, lengths: RowNumbers, shapes: Shapes) -> list[RowNumbers]:
    """Cuts windows into batches by shape, shorter ones first; neighbours in ``order`` go into different batches."""
    shape = shapes.index_of(lengths[order])
    batches: list[RowNumbers] = []
    left = order[:0]
    for place, count in enumerate(shapes.windows.tolist()):
        rows = np.concatenate([left, order[shape == place]])
        whole = len(rows) // count
        batches += list(rows[: whole * count].reshape(count, whole).T)
        left = rows[whole * count :]
    return batches + [left] * (len(left) > 0)


def _count_batches_by_shape(shapes: Shapes, lengths: RowNumbers) -> int:
    """Counts the batches that `_batches_by_shape` makes, which is the same for every order."""
    batches = left = 0
    counts = np.bincount(shapes.index_of(lengths), minlength=len(shapes.lengths))
    for windows, count in zip(counts.tolist(), shapes.windows.tolist(), strict=True):
        whole, left = divmod(left + windows, count)
        batches += whole
    return batches + (left > 0)


def _split_largest(batches: list[RowNumbers], count: int) -> list[RowNumbers]:
    """Cuts the largest batches in two until there are so many, or no batch has more than one window."""
    while len(batches) < count and max(map(len, batches), default=0) > 1:
        largest = np.argsort([-len(rows) for rows in batches], kind="stable")[: count - len(batches)]
        halved = {place for place in largest.tolist() if len(batches[place]) > 1}
        batches = [
            part
            for place, rows in enumerate(batches)
            for part in (np.array_split(rows, 2) if place in halved else [rows])
        ]
    return batches
