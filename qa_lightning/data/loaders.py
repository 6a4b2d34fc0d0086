"""Makes the loaders: which windows share a batch, in which shapes, and on which device batches are built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from qa_lightning.data.batching import EvaluationBatchSampler, TrainingBatchSampler
from qa_lightning.data.collate import WindowDataset
from qa_lightning.data.cutting import packed_shape
from qa_lightning.data.mixed_windows import MixedWindows
from qa_lightning.data.mixture import Mixture
from qa_lightning.data.prefetch import PrefetchLoader
from qa_lightning.data.shapes import Shapes
from qa_lightning.records import Batch

GPU_SHAPES = 12
"""Shapes of batches on a GPU: with 12, SQuAD's training windows are padded by 5 %."""

SHARE_OF_MEMORY = 0.05
"""Share of a GPU's memory that a split's columns may take; SQuAD's training set takes 40 MB."""


@dataclass(frozen=True)
class Placement:
    """The device and process that batches are built for.

    Attributes:
        device: The device that batches are built on.
        rank: The rank of the process.
        world_size: The number of processes.
        packs_windows: Whether the model is given the windows of a batch in one row.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    rank: int = 0
    world_size: int = 1
    packs_windows: bool = False


def training_batch_sampler(
    dataset: WindowDataset | MixedWindows,
    sample: Mixture,
    place: Placement,
    *,
    batch_size: int,
    tokens_per_batch: int | None,
    shapes: int | None,
    seed: int,
) -> TrainingBatchSampler:
    """Makes the batch sampler for training, and sets the data set's shapes.

    Args:
        dataset: The windows to train on.
        sample: Which of them each epoch has.
        place: The device and process that batches are built for.
        batch_size: Windows in a batch.
        tokens_per_batch: Tokens in a batch instead.
        shapes: How many shapes padded batches have; None: any number on a CPU, and `GPU_SHAPES` elsewhere.
        seed: The seed of the order.
    """
    first, *others = sample.lengths
    if place.packs_windows and len(first):
        dataset.shapes = packed_shape(first, batch_size, tokens_per_batch, *others)
    else:
        lengths = np.concatenate(sample.lengths)
        dataset.shapes = _padded_shapes(
            lengths, place, shapes, lambda widths: tokens_per_batch // widths if tokens_per_batch else batch_size
        )
    batches = TrainingBatchSampler(
        dataset.lengths,
        dataset.contexts,
        batch_size,
        tokens_per_batch,
        dataset.shapes,
        seed=seed,
        rank=place.rank,
        world_size=place.world_size,
        sample=sample,
    )
    varies = tokens_per_batch is not None or place.packs_windows
    dataset.mean_batch_size = len(first) / max(1, batches.batches) if varies else None
    return batches


def evaluation_batch_sampler(
    dataset: WindowDataset, place: Placement, *, batch_size: int, max_length: int, shapes: int | None
) -> EvaluationBatchSampler:
    """Makes the batch sampler for evaluation, and sets the data set's shapes.

    Args:
        dataset: The windows of the questions.
        place: The device and process that batches are built for.
        batch_size: Windows of ``max_length`` tokens whose tokens a batch may have; of short ones there are more.
        max_length: Most tokens of a window.
        shapes: How many shapes padded batches have; None: any number on a CPU, and `GPU_SHAPES` elsewhere.
    """
    tokens = batch_size * max_length
    if place.packs_windows and len(dataset):
        tokens = min(tokens, int(dataset.lengths.sum()))
        most = min(4 * batch_size, tokens // int(dataset.lengths.min()))
        dataset.shapes = Shapes.packed(dataset.lengths, most, tokens)
    else:
        dataset.shapes = _padded_shapes(dataset.lengths, place, shapes, lambda widths: tokens // widths)
    return EvaluationBatchSampler(
        dataset.windows, dataset.lengths, tokens, place.rank, place.world_size, dataset.shapes
    )


def make_loader(dataset: WindowDataset | MixedWindows, batches: Any, device: torch.device) -> DataLoader[Batch]:
    """Makes a loader that builds batches on a device.

    Where the columns of a data set would take too much of a GPU's memory, a thread builds batches ahead in the host's.

    Args:
        dataset: The windows.
        batches: The batch sampler, which gives the rows of each batch.
        device: The device.
    """
    # The sampler names whole batches and the data set builds them whole, so the loader must not batch.
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
        if dataset.builds_on_host or dataset.nbytes > SHARE_OF_MEMORY * memory:
            return PrefetchLoader(dataset, batch_size=None, sampler=batches, pin_memory=True)
    return DataLoader(dataset.to(device), batch_size=None, sampler=batches)


def _padded_shapes(
    lengths: NDArray[np.int64], place: Placement, count: int | None, windows: Callable[[NDArray[np.int64]], Any]
) -> Shapes | None:
    """Chooses the shapes of a split's batches: few if requested or on a GPU; None: any."""
    count = count or (None if place.device.type == "cpu" else GPU_SHAPES)
    return None if count is None or not len(lengths) else Shapes.of(lengths, count, windows)
