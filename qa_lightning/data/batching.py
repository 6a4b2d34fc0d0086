"""Which windows share a batch: neighbours in length, so that little is padded, in an order that mixes well."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, DistributedSampler

from qa_lightning.data.windows import Windows

Rows = NDArray[np.int64]

POOL = 50
"""Batches in a pool at most: within one, windows are sorted by length, so it sets how chance and length trade."""

FEWEST_POOLS = 16
"""Pools in an epoch at least. Were all of a small data set one pool, a batch would hold the questions of the few
contexts that happen to have one length."""


class _Dealt(DistributedSampler[Rows]):
    """Batches that are dealt to processes here.

    Lightning deals whatever a sampler gives once more, unless it is a DistributedSampler.
    """

    def __init__(self, windows: int, rank: int, world_size: int, seed: int = 0) -> None:
        super().__init__(cast("Dataset[Any]", range(windows)), num_replicas=world_size, rank=rank, seed=seed)


class TrainingBatches(_Dealt):
    """Every window once an epoch: shuffled, cut into pools, sorted by length within, batches shuffled.

    All processes draw the same order and take turns; the few windows that would give the last of them no
    equal share are seen again from the start, so that every process makes equally many steps.

    Args:
        lengths: Tokens in each window; ``[windows]``.
        batch_size: Windows in a batch.
        seed: Of the order; epochs differ.
        rank: This process's number.
        world_size: How many processes there are.
    """

    def __init__(
        self, lengths: NDArray[np.int64], batch_size: int, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__(len(lengths), rank, world_size, seed)
        self.lengths = lengths
        self.batch_size = batch_size
        self.world_size = world_size
        self._trained = (0, 0)

    def set_epoch(self, epoch: int) -> None:
        """Lightning tells the epoch here before it is drawn."""
        self.epoch = epoch

    def skip(self, epoch: int, trained: int) -> None:
        """Begins in an epoch in which training was interrupted, after the batches that were trained."""
        # At an epoch's end, where the next one begins.
        self._trained = (epoch, trained) if trained < len(self) else (epoch + 1, 0)
        # Worker processes begin to load before Lightning tells the epoch.
        self.epoch = self._trained[0]

    def __len__(self) -> int:
        return -(-len(self.lengths) // (self.batch_size * self.world_size))

    def __iter__(self) -> Iterator[Rows]:
        random = np.random.default_rng((self.seed, self.epoch))
        order = random.permutation(len(self.lengths))
        together = self.batch_size * self.world_size
        pool = max(1, min(POOL * self.batch_size, len(order) // FEWEST_POOLS) // together) * together
        for start in range(0, len(order), pool):
            part = order[start : start + pool]
            order[start : start + pool] = part[np.argsort(self.lengths[part], kind="stable")]
        batches = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
        # Processes work side by side on batches next to each other here, which are alike in length.
        steps = [batches[i : i + self.world_size] for i in range(0, len(batches), self.world_size)]
        epoch, trained = self._trained
        for step in random.permutation(len(self))[trained if epoch == self.epoch else 0 :]:
            group = steps[step]
            yield group[self.rank] if self.rank < len(group) else batches[self.rank % len(batches)]


class EvaluationBatches(_Dealt):
    """Every window of this process's questions once, longest questions first, a question's windows together.

    Whole questions are dealt to processes, so that each can answer and score its own. All processes make equally
    many steps, since a step may be one that all take together (a forward pass under DDP or FSDP, a hook of
    Lightning's): one that has no windows left asks for batches of none.

    Args:
        windows: The split's windows.
        lengths: Tokens in each window; ``[windows]``.
        batch_size: Windows in a batch.
        rank: This process's number.
        world_size: How many processes there are.
    """

    def __init__(
        self,
        windows: Windows,
        lengths: NDArray[np.int64],
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(len(windows), rank, world_size)
        examples = int(windows.example.max(initial=-1)) + 1
        longest = np.zeros(examples, dtype=np.int64)
        np.maximum.at(longest, windows.example, lengths)
        place = np.empty(examples, dtype=np.int64)
        place[np.lexsort((-np.bincount(windows.example, minlength=examples), -longest))] = np.arange(examples)
        order = np.argsort(place[windows.example], kind="stable")
        owner = place[windows.example[order]] % world_size
        self.rows = order[owner == rank]
        self.batch_size = batch_size
        self.steps = -(-int(np.bincount(owner).max(initial=0)) // batch_size)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Rows]:
        for start in range(0, self.steps * self.batch_size, self.batch_size):
            yield self.rows[start : start + self.batch_size]
