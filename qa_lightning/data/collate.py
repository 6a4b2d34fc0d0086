"""Windows to tensors, a whole batch at once: every column is filled by one scatter, never by a loop over rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from qa_lightning.data.layout import Layout
from qa_lightning.data.tokens import TokenIds, Tokens
from qa_lightning.data.windows import Golds, Windows, holds, ranges
from qa_lightning.records import Batch, Question

Ints = NDArray[np.integer]


@dataclass(frozen=True)
class Encoded:
    """A split in tokens: what windows are cut from.

    Attributes:
        layout: How question and context are joined.
        questions: Tokens of the distinct questions.
        question_of: Each example's row in ``questions``; ``[examples]``.
        question_lengths: Tokens of each example's question, cut ones as cut; int64 ``[examples]``.
        contexts: Tokens of the distinct contexts.
        context_of: Each example's row in ``contexts``; ``[examples]``.
        golds: Token spans to train on, by example.
        unlabelled: Examples that have answers of which none could be located, or whose answers are unknown;
            bool ``[examples]``.
        words: Characters of the context's word that each of its tokens belongs to, end exclusive: int32
            ``[tokens, 2]``; None where answers need not be made of whole words.
    """

    layout: Layout
    questions: TokenIds
    question_of: Ints
    question_lengths: NDArray[np.int64]
    contexts: Tokens
    context_of: Ints
    golds: Golds
    unlabelled: NDArray[np.bool_]
    words: NDArray[np.int32] | None = None

    def select(self, keep: NDArray[np.bool_]) -> Encoded:
        """The examples where ``keep`` (bool ``[examples]``) is true; all tokens stay."""
        counts = np.diff(self.golds.bounds)
        kept = np.repeat(keep, counts)
        bounds = np.concatenate([[0], np.cumsum(counts[keep])])
        return replace(
            self,
            question_of=self.question_of[keep],
            question_lengths=self.question_lengths[keep],
            context_of=self.context_of[keep],
            golds=Golds(self.golds.first[kept], self.golds.last[kept], bounds),
            unlabelled=self.unlabelled[keep],
        )


class WindowDataset(Dataset[Batch]):
    """Windows of one split. An item is a whole batch, asked for by the rows of its windows.

    Asked for no rows, it gives a weightless batch: one window that has neither a label nor a question, for a
    process that must take a step with the others and has nothing left to evaluate.

    Args:
        encoded: The split's tokens.
        windows: Its windows.
        ids: The examples' ids; ``[examples]``.
        questions: The examples as evaluation needs them; None for training.
        name: The evaluation set's name.
        pad_to_multiple_of: Batches are as long as their longest window, rounded up to a multiple of this.
    """

    def __init__(
        self,
        encoded: Encoded,
        windows: Windows,
        ids: Sequence[str],
        questions: Sequence[Question] | None = None,
        name: str = "",
        pad_to_multiple_of: int = 1,
    ) -> None:
        self.encoded = encoded
        self.windows = windows
        self.ids = ids
        self.questions = questions
        self.name = name
        self.pad_to_multiple_of = pad_to_multiple_of
        self.usual_batch: float | None = None
        """Windows that batches have on the average, where that number varies: a batch weighs accordingly."""

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens in each window; int64 ``[windows]``."""
        encoded, windows = self.encoded, self.windows
        contexts = windows.last.astype(np.int64) - windows.first
        return encoded.layout.special_tokens + encoded.question_lengths[windows.example] + contexts

    @property
    def questions_cut(self) -> int:
        """How many of the examples have a question of which only the beginning is there."""
        encoded = self.encoded
        return int(np.sum(encoded.questions.lengths[encoded.question_of] > encoded.question_lengths))

    @property
    def contexts(self) -> Ints:
        """Which context each window is of; ``[windows]``."""
        return self.encoded.context_of[self.windows.example]

    def __getitem__(self, rows: Ints) -> Batch:
        """The batch of these windows (int ``[batch]``), padded to the longest among them, or a little more."""
        if not len(rows):
            one = self[np.zeros(1, dtype=np.int64)]
            return replace(one, starts=-torch.ones_like(one.starts), ends=-torch.ones_like(one.ends), questions=[])
        encoded, layout = self.encoded, self.encoded.layout
        windows = Windows(self.windows.example[rows], self.windows.first[rows], self.windows.last[rows])
        example = windows.example
        question = _Part(
            encoded.questions,
            encoded.questions.bounds[encoded.question_of[example]],
            encoded.question_lengths[example],
        )
        context = _Part(
            encoded.contexts,
            encoded.contexts.bounds[encoded.context_of[example]] + windows.first,
            windows.last.astype(np.int64) - windows.first,
        )
        first, second = (question, context) if layout.question_first else (context, question)
        lengths = layout.special_tokens + first.lengths + second.lengths
        width = -(-int(lengths.max(initial=0)) // self.pad_to_multiple_of) * self.pad_to_multiple_of
        at_before = width - lengths if layout.pad_left else np.zeros_like(lengths)
        at_first = at_before + len(layout.before)
        at_between = at_first + first.lengths
        at_second = at_between + len(layout.between)
        at_after = at_second + second.lengths
        places = (at_before, at_between, at_after)
        at_question, at_context = (at_first, at_second) if layout.question_first else (at_second, at_first)

        ids = np.full((len(rows), width), layout.pad_id, dtype=np.int64)
        for group, at in zip((layout.before, layout.between, layout.after), places, strict=True):
            for i, special in enumerate(group):
                ids[np.arange(len(rows)), at + i] = special
        first.scatter(ids, at_first)
        second.scatter(ids, at_second)

        column = np.arange(width)
        inputs = {"input_ids": ids}
        inputs["attention_mask"] = _between(column, at_before, at_before + lengths).astype(np.int64)
        if layout.pad_left:
            # Networks count positions from the row's first column, which would be the padding's.
            inputs["position_ids"] = np.maximum(column - at_before[:, None], 0)
        if layout.types is not None:
            borders = (at_before, at_first, at_between, at_second, at_after)
            inputs["token_type_ids"] = self._token_types(column, borders)

        def of_context(column: NDArray[np.int32]) -> NDArray[np.int64]:
            spread = np.zeros((len(rows), width, 2), dtype=np.int64)
            context.scatter(spread, at_context, column)
            return spread

        offsets = of_context(encoded.contexts.offsets)

        null = np.full(len(rows), -1, dtype=np.int64)
        if layout.null is not None:
            which, token = layout.null
            null = places[which] + token
        starts, ends = self._labels(windows, at_context, null)
        batch = Batch(
            inputs={name: torch.from_numpy(values) for name, values in inputs.items()},
            question_mask=torch.from_numpy(_between(column, at_question, at_question + question.lengths)),
            context_mask=torch.from_numpy(offsets[..., 0] < offsets[..., 1]),
            null_position=torch.from_numpy(null),
            starts=torch.from_numpy(starts),
            ends=torch.from_numpy(ends),
            ids=[self.ids[row] for row in example],
            name=self.name,
            weight=1.0 if self.usual_batch is None else len(rows) / self.usual_batch,
        )
        if self.questions is not None:
            batch.offsets = torch.from_numpy(offsets)
            batch.words = None if encoded.words is None else torch.from_numpy(of_context(encoded.words))
            batch.questions = [self.questions[row] for row in example]
        return batch

    def _token_types(self, column: Ints, borders: Sequence[Ints]) -> NDArray[np.int64]:
        """Token types of every position, from those of the five parts that begin at ``borders``."""
        layout = self.encoded.layout
        assert layout.types is not None
        types = np.full((len(borders[0]), len(column)), layout.pad_type, dtype=np.int64)
        rows = np.arange(len(types))
        for part, (values, at) in enumerate(zip(layout.types, borders, strict=True)):
            if part in (1, 3):  # the two texts: one type for all of their tokens
                types[_between(column, at, borders[part + 1])] = values[0]
            else:
                for i, value in enumerate(values):
                    types[rows, at + i] = value
        return types

    def _labels(self, windows: Windows, at_context: Ints, null: Ints) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions of the golds that each window holds whole, null where it holds none; ``[batch, golds]``."""
        golds = self.encoded.golds
        window, gold, whole = holds(windows, golds)
        window, gold = window[whole], gold[whole]
        count = np.bincount(window, minlength=len(windows))
        shape = (len(windows), max(1, int(count.max(initial=0))))
        starts, ends = np.full(shape, -1, dtype=np.int64), np.full(shape, -1, dtype=np.int64)
        empty = (count == 0) & ~self.encoded.unlabelled[windows.example]
        starts[empty, 0] = ends[empty, 0] = null[empty]
        to_position = at_context[window] - windows.first[window]
        starts[window, ranges(count)] = golds.first[gold] + to_position
        ends[window, ranges(count)] = golds.last[gold] + to_position
        return starts, ends


@dataclass(frozen=True)
class _Part:
    """A slice of tokens for each row of a batch."""

    tokens: TokenIds
    begins: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def scatter(self, target: NDArray[np.int64], at: Ints, source: NDArray[np.int32] | None = None) -> None:
        """Writes each row's slice of ``source`` (default: the ids) into ``target`` from column ``at`` on."""
        row = np.repeat(np.arange(len(self.lengths)), self.lengths)
        within = ranges(self.lengths)
        values = self.tokens.ids if source is None else source
        target[row, at[row] + within] = values[self.begins[row] + within]


def _between(column: Ints, first: Ints, last: Ints) -> NDArray[np.bool_]:
    """Which columns lie in ``[first, last)`` of their row; bool ``[batch, length]``."""
    return (column >= first[:, None]) & (column < last[:, None])
