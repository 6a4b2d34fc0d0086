"""Batch samplers: windows of similar length share a batch, for little padding, in an order that mixes well."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, DistributedSampler

from qa_lightning.data.cutting import BatchCutter, RowNumbers
from qa_lightning.data.mixture import AllWindows, Mixture
from qa_lightning.data.shapes import Shapes
from qa_lightning.data.windows import Windows


class _DistributedBatchSampler(DistributedSampler[RowNumbers]):
    """A batch sampler that splits its batches across processes itself.

    Lightning would split them once more if this were not a DistributedSampler.
    """

    def __init__(self, windows: int, rank: int, world_size: int, seed: int = 0) -> None:
        super().__init__(cast("Dataset[Any]", range(windows)), num_replicas=world_size, rank=rank, seed=seed)


class TrainingBatchSampler(_DistributedBatchSampler):
    """Samples every window once per epoch, in batches of similar length and in a new order each epoch.

    Windows are distributed over pools, sorted by length within, and cut into batches. With ``shapes``, batches are made
    of the windows of one shape instead; what is left over there goes into batches of the next longer one. Where the
    windows of a batch are packed into one row, batches have windows of every length and nearly equally many tokens.

    The windows of a context are put into different pools or batches. They are alike in length, and would meet in one
    batch otherwise, whose gradient would say little more than that of one of them. The batch with the most tokens comes
    first, so that a lack of memory shows at once.

    All processes draw the same order and take turns; the few batches that would give the last of them no equal
    share are seen again from the start, so that every process makes equally many steps.

    Args:
        lengths: Tokens in each window; ``[windows]``.
        contexts: Which context each window is of; ``[windows]``.
        batch_size: Windows in a batch.
        tokens_per_batch: Tokens in a batch instead, up to a window more or less and not counting padding; at least
            the tokens of the longest window. Every epoch has the same number of batches in this case, too.
        shapes: The shapes that batches are to have; unless they are packed, these say how many windows are in a batch.
            Default: each batch has its own.
        seed: The seed of the order, which is different in each epoch.
        rank: The rank of this process.
        world_size: The number of processes.
        sample: Which windows each epoch has; None: all.
    """

    def __init__(
        self,
        lengths: RowNumbers,
        contexts: NDArray[np.integer],
        batch_size: int,
        tokens_per_batch: int | None = None,
        shapes: Shapes | None = None,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        sample: Mixture | None = None,
    ) -> None:
        super().__init__(len(lengths), rank, world_size, seed)
        self._sample = Mixture([AllWindows(lengths)]) if sample is None else sample
        self.contexts = contexts
        self._cutter = BatchCutter(batch_size, tokens_per_batch, shapes)
        self.batches = max(map(self._cutter.count, self._sample.lengths))
        self.world_size = world_size
        self._trained = (0, 0)

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch; Lightning calls this before it iterates."""
        self.epoch = epoch

    def skip(self, epoch: int, trained: int) -> None:
        """Resumes an interrupted training, after the batches that were already trained.

        Args:
            epoch: The epoch that was interrupted.
            trained: How many of its batches were trained.
        """
        # At an epoch's end, where the next one begins.
        self._trained = (epoch, trained) if trained < len(self) else (epoch + 1, 0)
        # Worker processes begin to load before Lightning calls `set_epoch`.
        self.epoch = self._trained[0]

    def __len__(self) -> int:
        return -(-self.batches // self.world_size)

    def __iter__(self) -> Iterator[RowNumbers]:
        if not len(self):
            return
        random = np.random.default_rng((self.seed, self.epoch))
        windows, lengths = self._sample.draw(random, self.seed, self.epoch)
        shuffled = random.permutation(len(windows))
        contexts = random.permutation(int(self.contexts.max(initial=-1)) + 1)[self.contexts[windows]]
        order = shuffled[np.argsort(contexts[shuffled], kind="stable")]
        batches = self._cutter.cut(order, lengths, self.batches, random)
        largest = np.argmax([len(rows) * lengths[rows].max() for rows in batches])
        # Processes work side by side on batches next to each other here, which are alike in length.
        steps = random.permutation(len(self))
        place = np.flatnonzero(steps == largest // self.world_size)[0]
        steps[[0, place]] = steps[[place, 0]]
        epoch, trained = self._trained
        for step in steps[trained if epoch == self.epoch else 0 :]:
            # Behind the last batch, the first ones are seen again.
            yield windows[batches[(step * self.world_size + self.rank) % len(batches)]]


class EvaluationBatchSampler(_DistributedBatchSampler):
    """Samples every window of this process's questions once: longest questions first, a question's windows together.

    Whole questions are assigned to processes, so that each can answer and score its own. All processes make equally
    many steps, since a step may be one that all take together (a forward pass under DDP or FSDP, a hook of
    Lightning's): one that has no windows left asks for batches of none.

    Args:
        windows: The split's windows.
        lengths: Tokens in each window; ``[windows]``.
        tokens: Most tokens in a batch, including padding; a longer window has a batch of its own.
        rank: The rank of this process.
        world_size: The number of processes.
        shapes: The shapes that batches are to have, of ``tokens`` each; default: each batch has its own. Where they are
            packed, ``tokens`` counts no padding.
    """

    def __init__(
        self,
        windows: Windows,
        lengths: RowNumbers,
        tokens: int,
        rank: int = 0,
        world_size: int = 1,
        shapes: Shapes | None = None,
    ) -> None:
        super().__init__(len(windows), rank, world_size)
        examples = int(windows.example.max(initial=-1)) + 1
        longest = np.zeros(examples, dtype=np.int64)
        np.maximum.at(longest, windows.example, lengths)
        if shapes is not None and not shapes.is_packed:
            longest = shapes.lengths[shapes.index_of(longest)]
        place = np.empty(examples, dtype=np.int64)
        place[np.lexsort((-np.bincount(windows.example, minlength=examples), -longest))] = np.arange(examples)
        order = np.argsort(place[windows.example], kind="stable")
        owner = place[windows.example[order]] % world_size
        parts = [order[owner == process] for process in range(world_size)]
        if shapes is not None and shapes.is_packed:
            dealt = [_fill_packed_batches(part, lengths, tokens, int(shapes.windows[0])) for part in parts]
        else:
            dealt = [_fill_padded_batches(part, longest[windows.example], tokens) for part in parts]
        self.steps = max(map(len, dealt))
        self.batches = dealt[rank] + [order[:0]] * (self.steps - len(dealt[rank]))

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[RowNumbers]:
        return iter(self.batches)


def _fill_padded_batches(order: RowNumbers, widths: RowNumbers, tokens: int) -> list[RowNumbers]:
    """Cuts windows, sorted from widest to narrowest, into batches of at most that many tokens, or of one window."""
    batches = []
    start = 0
    while start < len(order):
        stop = start + max(1, int(tokens // widths[order[start]]))
        batches.append(order[start:stop])
        start = stop
    return batches


def _fill_packed_batches(order: RowNumbers, lengths: RowNumbers, tokens: int, most: int) -> list[RowNumbers]:
    """Cuts windows into batches of at most that many tokens and windows."""
    until = np.concatenate([[0], np.cumsum(lengths[order])])
    batches = []
    start = 0
    while start < len(order):
        stop = int(np.searchsorted(until, until[start] + tokens, side="right")) - 1
        stop = min(max(stop, start + 1), start + most)
        batches.append(order[start:stop])
        start = stop
    return batches
