"""Collates windows into tensors, a whole batch at once, by gathering from columns on the batch's device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from qa_lightning.data.encode import TokenizedSplit
from qa_lightning.data.layout import Layout
from qa_lightning.data.shapes import Shapes
from qa_lightning.data.window_logits import WindowLogits, gather_logits
from qa_lightning.data.windows import Windows, concatenated_ranges, window_gold_pairs
from qa_lightning.records import Batch, Question
from qa_lightning.utils.arrays import BoolArray, IntArray


class WindowDataset(Dataset[Batch]):
    """The windows of one split. An item is a whole batch, indexed by the rows of its windows.

    Indexed by no rows, it gives a batch without weight: one window that has neither a label nor a question, for a
    process that must take a step with the others and has nothing left to evaluate.

    Args:
        encoded: The split's tokens.
        windows: Its windows.
        ids: The examples' ids; ``[examples]``.
        questions: The examples as evaluation needs them; None for training.
        name: The evaluation set's name.

    Attributes:
        columns: What its batches are gathered from.
        shapes: The shapes that batches are filled up to, by padding and by additional rows;
            None: each batch is as long as its longest window.
        mean_batch_size: Windows that batches have on average, where that number varies: each batch is weighted by it.
        lengths: Tokens in each window; int64 ``[windows]``.
        teachers: What teachers predict for each window, where there are any.
        builds_on_host: Whether making a batch is work for the host, to be done while a GPU works on the one before.
    """

    builds_on_host = False

    def __init__(
        self,
        encoded: TokenizedSplit,
        windows: Windows,
        ids: Sequence[str],
        questions: Sequence[Question] | None = None,
        name: str = "",
    ) -> None:
        self.encoded = encoded
        self.windows = windows
        self.ids = ids
        self.questions = questions
        self.name = name
        self.shapes: Shapes | None = None
        self.mean_batch_size: float | None = None
        self.teachers: tuple[WindowLogits, ...] = ()
        of_context = windows.last.astype(np.int64) - windows.first
        self.lengths = encoded.layout.special_tokens + encoded.question_lengths[windows.example] + of_context
        self.columns = WindowColumns.of(encoded, windows)

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def questions_cut(self) -> BoolArray:
        """Whose question was truncated; bool ``[examples]``."""
        encoded = self.encoded
        return encoded.questions.lengths[encoded.question_index] > encoded.question_lengths

    @property
    def nbytes(self) -> int:
        """Bytes of memory that its columns take."""
        return self.columns.nbytes

    @property
    def contexts(self) -> IntArray:
        """The index of each window's context; ``[windows]``."""
        return self.encoded.context_index[self.windows.example]

    def to(self, device: torch.device) -> WindowDataset:
        """Moves the columns to the device on which batches are wanted, and returns the data set itself."""
        self.columns = self.columns.to(device)
        return self

    def __getitem__(self, rows: IntArray) -> Batch:
        """The batch of these windows (int ``[batch]``), filled up to its shape."""
        if not len(rows):
            batch = self[np.zeros(1, dtype=np.int64)]
            no_label = -torch.ones_like(batch.starts)
            return replace(batch, starts=no_label, ends=no_label.clone(), questions=[])
        width, height = batch_shape(self.lengths[rows], self.shapes)
        batch = self.gather(rows, width, height)
        batch.row_tokens = None if self.shapes is None else self.shapes.row_tokens
        batch.weight = 1.0 if self.mean_batch_size is None else len(rows) / self.mean_batch_size
        return batch

    def gather(self, rows: IntArray, width: int, height: int) -> Batch:
        """Gathers the batch of these windows (int ``[batch]``), filled up to ``height`` rows of ``width`` tokens."""
        batch = self.gather_tokens(rows, width, height)
        if self.teachers:
            pad_left = self.encoded.layout.pad_left
            batch.teacher_logits = gather_logits(
                self.teachers, rows, width, pad_left=pad_left, device=self.columns.windows.device
            )
        if self.questions is None:
            return replace(batch, offsets=None, words=None)
        batch.questions = [self.questions[row] for row in self.windows.example[rows]]
        return batch

    def gather_tokens(self, rows: IntArray, width: int, height: int) -> Batch:
        """Gathers the same with its offsets, and without its questions."""
        tensors = collate(self.columns, self.encoded.layout, rows, width, height)
        return Batch(**tensors, ids=[self.ids[row] for row in self.windows.example[rows]], name=self.name)

    def follow(self, batches: Any) -> None:
        """Takes the epoch from a batch sampler of training, where windows are others in each."""


def batch_shape(lengths: NDArray[np.int64], shapes: Shapes | None) -> tuple[int, int]:
    """The tokens of the rows of a batch, and how many rows it has, from its windows' lengths, ``[batch]``."""
    width, height = int(lengths.max()), len(lengths)
    if shapes is None:
        return width, height
    assert shapes.row_tokens is None or lengths.sum() <= shapes.row_tokens
    shape = shapes.index_of(np.array(width))
    return int(shapes.lengths[shape]), int(shapes.windows[shape])


@dataclass(frozen=True)
class WindowColumns:
    """The columns that batches of a split are gathered from, as tensors on one device.

    Places are counted from a window's first token, so that they hold however long the batch is.

    Attributes:
        windows: Of each window: the place of its question's first token, one past that of its last, what is added to
            a place to find the token in ``question_ids``; the same three of its context, in ``context_ids``; how many
            tokens the window has; the place of null, or -1; and those of its special tokens; int32
            ``[windows, 8 + special]``.
        starts: Places of the first tokens of the golds that each window holds whole, or the null place where it holds
            none, padded with -1; int32 ``[windows, golds]``.
        ends: Places of their last tokens, inclusive.
        question_ids: Ids of the questions' tokens; int32 ``[tokens]``.
        context_ids: Ids of the contexts' tokens; int32 ``[tokens]``.
        offsets: Characters that each of these covers, end exclusive; int32 ``[tokens, 2]``.
        words: Characters of the word that each of these belongs to; int32 ``[tokens, 2]``; None where not requested.
        special_ids: Ids of the special tokens; int64 ``[special]``.
        special_types: Their token types; int64 ``[special]``.
    """

    windows: Tensor
    starts: Tensor
    ends: Tensor
    question_ids: Tensor
    context_ids: Tensor
    offsets: Tensor
    words: Tensor | None
    special_ids: Tensor
    special_types: Tensor

    @classmethod
    def of(cls, encoded: TokenizedSplit, windows: Windows) -> WindowColumns:
        """The columns of windows, on the CPU; those of tokens stay where they are, in memory or on disk."""
        layout, example = encoded.layout, windows.example
        question = encoded.question_lengths[example]
        context = windows.last.astype(np.int64) - windows.first
        first, second = (question, context) if layout.question_first else (context, question)
        zeros = np.zeros_like(first)
        at_first = zeros + len(layout.before)
        at_between = at_first + first
        at_second = at_between + len(layout.between)
        at_after = at_second + second
        at_question, at_context = (at_first, at_second) if layout.question_first else (at_second, at_first)
        groups = ((zeros, layout.before), (at_between, layout.between), (at_after, layout.after))
        special = [at + place for at, ids in groups for place in range(len(ids))]
        null = zeros - 1 if layout.null is None else groups[layout.null[0]][0] + layout.null[1]
        cuts = [
            *(at_question, at_question + question),
            encoded.questions.bounds[encoded.question_index[example]] - at_question,
            *(at_context, at_context + context),
            encoded.contexts.bounds[encoded.context_index[example]] + windows.first - at_context,
            *(at_after + len(layout.after), null),
        ]
        starts, ends = _gold_columns(encoded, windows, at_context, null)
        types = ((), (), ()) if layout.types is None else layout.types[::2]
        return cls(
            windows=torch.from_numpy(np.stack([*cuts, *special], axis=1).astype(np.int32)),
            starts=torch.from_numpy(starts),
            ends=torch.from_numpy(ends),
            question_ids=_token_tensor(encoded.questions.ids),
            context_ids=_token_tensor(encoded.contexts.ids),
            offsets=_token_tensor(encoded.contexts.offsets),
            words=None if encoded.words is None else _token_tensor(encoded.words),
            special_ids=torch.tensor([token for _, ids in groups for token in ids], dtype=torch.int64),
            special_types=torch.tensor([token_type for group in types for token_type in group], dtype=torch.int64),
        )

    def to(self, device: torch.device) -> WindowColumns:
        """Copies the columns to another device."""
        moved: dict[str, Any] = {name: column.to(device) for name, column in self._tensors().items()}
        return replace(self, **moved)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the columns take."""
        return sum(column.nbytes for column in self._tensors().values())

    def _tensors(self) -> dict[str, Tensor]:
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: column for name, column in columns.items() if column is not None}


def _token_tensor(column: NDArray[np.int32]) -> Tensor:
    """A column of tokens as a tensor with at least one row, so that masked places can be gathered from it."""
    return torch.from_numpy(column if len(column) else np.zeros((1, *column.shape[1:]), column.dtype))


def _gold_columns(
    encoded: TokenizedSplit, windows: Windows, at_context: IntArray, null: IntArray
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The columns ``starts`` and ``ends``."""
    golds = encoded.golds
    window, gold, whole = window_gold_pairs(windows, golds)
    window, gold = window[whole], gold[whole]
    count = np.bincount(window, minlength=len(windows))
    shape = (len(windows), max(1, int(count.max(initial=0))))
    starts, ends = np.full(shape, -1, dtype=np.int32), np.full(shape, -1, dtype=np.int32)
    empty = (count == 0) & ~encoded.unlabelled[windows.example]
    starts[empty, 0] = ends[empty, 0] = null[empty]
    to_place = at_context[window] - windows.first[window]
    starts[window, concatenated_ranges(count)] = golds.first[gold] + to_place
    ends[window, concatenated_ranges(count)] = golds.last[gold] + to_place
    return starts, ends


def collate(columns: WindowColumns, layout: Layout, rows: IntArray, width: int, height: int) -> dict[str, Any]:
    """Gathers the tensors of a batch, as `records.Batch` describes them.

    Args:
        columns: The split's columns.
        layout: How question and context are joined.
        rows: Which windows; int ``[batch]``.
        width: Tokens of the batch's rows, at least those of the longest window.
        height: Rows of the inputs, at least as many as windows; those beyond are the first window's again.
    """
    count, device = len(rows), columns.windows.device
    row = torch.full((height,), int(rows[0]), pin_memory=device.type == "cuda")
    row[:count] = torch.from_numpy(rows)
    row = row.to(device, non_blocking=True)
    cuts = columns.windows[row].long()
    at_question, end_question, to_question, at_context, end_context, to_context, length = cuts[:, :7, None].unbind(1)
    before = width - length if layout.pad_left else torch.zeros_like(length)
    column = torch.arange(width, device=device)
    place = column - before
    of_question = (place >= at_question) & (place < end_question)
    of_context = (place >= at_context) & (place < end_context)
    in_questions = torch.where(of_question, place + to_question, 0)
    in_contexts = torch.where(of_context, place + to_context, 0)
    special = cuts[:, 8:] + before

    ids = torch.where(of_question, columns.question_ids[in_questions], layout.pad_id)
    ids = torch.where(of_context, columns.context_ids[in_contexts], ids).long()
    inputs = {
        "input_ids": ids.scatter_(1, special, columns.special_ids.expand_as(special)),
        "attention_mask": ((place >= 0) & (place < length)).long(),
    }
    if layout.pad_left:
        # Networks count positions from the row's first column, which would be the padding's.
        inputs["position_ids"] = place.clamp(min=0)
    if layout.types is not None:
        (of_first,), (of_second,) = layout.types[1], layout.types[3]
        question_type, context_type = (of_first, of_second) if layout.question_first else (of_second, of_first)
        types = torch.where(of_question, question_type, layout.pad_type)
        types = torch.where(of_context, context_type, types)
        inputs["token_type_ids"] = types.scatter_(1, special, columns.special_types.expand_as(special))

    def shift_places(places: Tensor) -> Tensor:
        return torch.where(places < 0, -1, places + before[:count]) if layout.pad_left else places.long()

    def gather_characters(spans: Tensor) -> Tensor:
        return torch.where(of_context[:count, :, None], spans[in_contexts[:count]], 0).long()

    offsets = gather_characters(columns.offsets)
    return {
        "inputs": inputs,
        "question_mask": of_question[:count],
        "context_mask": offsets[..., 0] < offsets[..., 1],
        "null_position": shift_places(cuts[:count, 7:8])[:, 0],
        "starts": shift_places(columns.starts[row[:count]]),
        "ends": shift_places(columns.ends[row[:count]]),
        "offsets": offsets,
        "words": None if columns.words is None else gather_characters(columns.words),
    }
