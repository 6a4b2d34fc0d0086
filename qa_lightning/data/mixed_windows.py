"""The windows of several training sets as one data set, whose batches have windows of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import Dataset

from qa_lightning.data.collate import WindowDataset, batch_shape
from qa_lightning.data.shapes import Shapes
from qa_lightning.records import Batch
from qa_lightning.utils.arrays import IntArray


class MixedWindows(Dataset[Batch]):
    """The windows of several sets, numbered through; an item is a whole batch, indexed by the rows of its windows.

    Each set keeps its columns, in memory or on disk; of a batch, each set gathers its own windows.

    Args:
        parts: The sets, of one tokenizer, for training.

    Attributes:
        shapes: The shapes that batches are filled up to; None: each batch is as long as its longest window.
        mean_batch_size: Windows that batches have on average, where that number varies.
        lengths: Tokens in each window; int64 ``[windows]``.
        contexts: The number of each window's context; ``[windows]``.
    """

    def __init__(self, parts: Sequence[WindowDataset]) -> None:
        self.parts = parts
        self.shapes: Shapes | None = None
        self.mean_batch_size: float | None = None
        self.lengths: NDArray[np.int64] = np.concatenate([part.lengths for part in parts])
        contexts = [int(part.contexts.max(initial=-1)) + 1 for part in parts]
        first = np.cumsum([0, *contexts]).tolist()
        self.contexts = np.concatenate([at + part.contexts for at, part in zip(first, parts, strict=False)])
        self._bounds = np.cumsum([0, *map(len, parts)])

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the columns of all sets take."""
        return sum(part.nbytes for part in self.parts)

    @property
    def builds_on_host(self) -> bool:
        """Whether making a batch is work for the host."""
        return any(part.builds_on_host for part in self.parts)

    def to(self, device: torch.device) -> MixedWindows:
        """Moves the columns to the device on which batches are wanted, and returns the data set itself."""
        for part in self.parts:
            part.to(device)
        return self

    def __getitem__(self, rows: IntArray) -> Batch:
        """The batch of these windows (int ``[batch]``), in the order of the sets, filled up to its shape."""
        width, height = batch_shape(self.lengths[rows], self.shapes)
        owner = np.searchsorted(self._bounds, rows, side="right") - 1
        counts = np.bincount(owner, minlength=len(self.parts)).tolist()
        rows_of = [rows[owner == number] - first for number, first in enumerate(self._bounds[:-1])]
        # What fills the batch up stands behind all windows.
        room = [count + (number == owner.max()) * (height - len(rows)) for number, count in enumerate(counts)]
        gathered = [
            part.gather(of_part, width, rows_there)
            for part, of_part, rows_there in zip(self.parts, rows_of, room, strict=True)
            if len(of_part)
        ]
        return replace(
            _concatenate(gathered),
            name="",
            row_tokens=None if self.shapes is None else self.shapes.row_tokens,
            sets=dict(zip((part.name for part in self.parts), counts, strict=True)),
            weight=1.0 if self.mean_batch_size is None else len(rows) / self.mean_batch_size,
        )


def join_sets(parts: Sequence[WindowDataset]) -> WindowDataset | MixedWindows:
    """Makes one data set of one or several."""
    return MixedWindows(parts) if len(parts) > 1 else parts[0]


def _concatenate(batches: Sequence[Batch]) -> Batch:
    """Concatenates batches whose rows are equally long."""
    first = batches[0]
    if len(batches) == 1:
        return first
    joined: dict[str, Any] = {
        "inputs": {name: torch.cat([batch.inputs[name] for batch in batches]) for name in first.inputs},
        "ids": [id_ for batch in batches for id_ in batch.ids],
    }
    if first.teacher_logits is not None:
        joined["teacher_logits"] = torch.cat([cast(Tensor, batch.teacher_logits) for batch in batches], dim=2)
    for field in fields(first):
        if isinstance(getattr(first, field.name), Tensor) and field.name not in joined:
            joined[field.name] = _stack([getattr(batch, field.name) for batch in batches])
    return replace(first, **joined)


def _stack(columns: Sequence[Tensor]) -> Tensor:
    """Concatenates tensors, of which those with fewer golds than others are padded with -1."""
    if columns[0].ndim > 1:
        widest = max(column.shape[1] for column in columns)
        columns = [pad(column, (0, widest - column.shape[1]), value=-1) for column in columns]
    return torch.cat(list(columns))
