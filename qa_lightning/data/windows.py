"""Cuts tokenised contexts into windows, and locates the tokens that cover gold answers: arithmetic on whole columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qa_lightning.data.text_chunks import split_into_blocks
from qa_lightning.data.tokens import Tokens
from qa_lightning.utils.arrays import IntArray

BLOCK = 1 << 18
"""Tokens of the contexts whose golds are located at a time."""


@dataclass(frozen=True)
class Windows:
    """Windows cut from examples: three columns of equal length, those of an example next to each other.

    Attributes:
        example: The example's row; int32 ``[windows]``.
        first: First context token in the window; int32 ``[windows]``.
        last: One past its last context token; int32 ``[windows]``.
    """

    example: NDArray[np.int32]
    first: NDArray[np.int32]
    last: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.example)

    def select(self, keep: NDArray[np.bool_]) -> Windows:
        """The windows where ``keep`` (bool ``[windows]``) is true."""
        return Windows(self.example[keep], self.first[keep], self.last[keep])


@dataclass(frozen=True)
class GoldSpans:
    """Token spans of the gold answers of many examples, one after the other.

    Attributes:
        first: First token of the span in its context; int32 ``[golds]``.
        last: Its last token, inclusive; int32 ``[golds]``.
        bounds: Example ``i`` has the golds ``bounds[i]`` to ``bounds[i + 1]``; int64 ``[examples + 1]``.
    """

    first: NDArray[np.int32]
    last: NDArray[np.int32]
    bounds: NDArray[np.int64]

    @classmethod
    def none(cls, examples: int) -> GoldSpans:
        """Makes the golds of examples that have none."""
        nothing = np.zeros(0, dtype=np.int32)
        return cls(nothing, nothing, np.zeros(examples + 1, dtype=np.int64))


def cut_windows(
    context_lengths: IntArray,
    question_lengths: IntArray,
    *,
    max_length: int | IntArray,
    doc_stride: int | IntArray,
    special: int,
) -> Windows:
    """Cuts every example into windows as ``truncation="only_second"`` with ``stride`` does, from the left.

    Args:
        context_lengths: Tokens of each example's context; ``[examples]``.
        question_lengths: Tokens of its question, cut ones as cut; ``[examples]``.
        max_length: Most tokens of a window; a number, or one for each example.
        doc_stride: Context tokens that neighbouring windows share; likewise.
        special: Special tokens of a window.
    """
    room = max_length - special - np.asarray(question_lengths, dtype=np.int64)
    step = np.maximum(room - doc_stride, 1)  # below that only where nothing is cut
    rest = np.maximum(np.asarray(context_lengths, dtype=np.int64) - room, 0)
    count = 1 + -(-rest // step)
    example = np.repeat(np.arange(len(count)), count)
    first = concatenated_ranges(count) * step[example]
    last = np.minimum(first + room[example], np.asarray(context_lengths)[example])
    return Windows(example.astype(np.int32), first.astype(np.int32), last.astype(np.int32))


def locate_golds(
    starts: IntArray,
    ends: IntArray,
    contexts: IntArray,
    bounds: NDArray[np.int64],
    tokens: Tokens,
    context_characters: IntArray,
) -> GoldSpans:
    """Locates the tokens that cover gold answers.

    Args:
        starts: First character of each gold; ``[golds]``.
        ends: Its end, exclusive; ``[golds]``.
        contexts: The row in ``tokens`` of each gold's context; ``[golds]``.
        bounds: Where each example's golds begin; int64 ``[examples + 1]``.
        tokens: The contexts' tokens.
        context_characters: Characters of each context; ``[contexts]``.

    Returns:
        The first and last of the tokens that share a character with each gold; tokens that cover nothing (but
        white space) do not count. A gold that no token covers (its characters are dropped by the tokenizer)
        is left out.
    """
    covering = np.empty((len(starts), 2), dtype=np.int32)
    order = np.argsort(contexts, kind="stable")
    # Some contexts at a time, so that no column is as long as all tokens.
    for begin, end in split_into_blocks(tokens.lengths, BLOCK):
        golds = order[slice(*np.searchsorted(contexts, (begin, end), sorter=order))]
        spans = np.stack([starts[golds], ends[golds]], axis=1)
        at = tokens.bounds[begin : end + 1]
        offsets = tokens.offsets[at[0] : at[-1]]
        covering[golds] = _covering_tokens(
            spans, contexts[golds] - begin, offsets, at - at[0], context_characters[begin:end]
        )
    first, last = covering.T
    covered = first <= last
    kept = np.concatenate([[0], np.cumsum(covered)])
    return GoldSpans(first[covered], last[covered], kept[bounds])


def _covering_tokens(
    spans: IntArray, contexts: IntArray, offsets: NDArray[np.int32], bounds: NDArray[np.int64], characters: IntArray
) -> NDArray[np.int64]:
    """The first and last token that cover each span, counted in its context; ``[spans, 2]``.

    The first is above the last where no token does. Contexts are given by their tokens' offsets and bounds, and by
    how many characters they have.
    """
    # Placing the contexts one behind the other, a character apart, makes one sorted column of all tokens'
    # offsets, so that every span is found by one binary search.
    base = np.concatenate([[0], np.cumsum(characters[:-1] + 1)])
    visible = np.flatnonzero(offsets[:, 0] < offsets[:, 1])
    placed = offsets[visible] + np.repeat(base, np.diff(bounds))[visible, None]
    begins, finishes = np.maximum.accumulate(placed).T
    starts, ends = (spans + base[contexts, None]).T
    after = np.searchsorted(finishes, starts, side="right")
    before = np.searchsorted(begins, ends, side="left")
    # No visible token stands in front of the first, none behind the last.
    token = np.concatenate([[-1], visible, [len(offsets)]])
    return np.stack([token[after + 1], token[before]], axis=1) - bounds[contexts, None]


def window_gold_pairs(
    windows: Windows, golds: GoldSpans
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Pairs each window with each gold of its example.

    Returns:
        Three columns ``[pairs]``: the window, the gold (row in ``golds``), and whether the window holds the
        gold whole.
    """
    per_window = np.diff(golds.bounds)[windows.example]
    window = np.repeat(np.arange(len(windows)), per_window)
    gold = concatenated_ranges(per_window) + golds.bounds[windows.example][window]
    whole = (golds.first[gold] >= windows.first[window]) & (golds.last[gold] < windows.last[window])
    return window, gold, whole


def holds_whole_gold(windows: Windows, golds: GoldSpans) -> NDArray[np.bool_]:
    """Whether each window holds a gold whole; bool ``[windows]``."""
    window, _, whole = window_gold_pairs(windows, golds)
    found = np.zeros(len(windows), dtype=bool)
    found[window[whole]] = True
    return found


def has_whole_gold(windows: Windows, golds: GoldSpans) -> NDArray[np.bool_]:
    """Whether an example has a gold that one of its windows holds whole; bool ``[examples]``."""
    found = np.zeros(len(golds.bounds) - 1, dtype=bool)
    found[windows.example[holds_whole_gold(windows, golds)]] = True
    return found


def add_gold_windows(
    windows: Windows, golds: GoldSpans, context_lengths: IntArray, rooms: IntArray
) -> tuple[Windows, NDArray[np.int64]]:
    """Adds a window, around the first gold that fits, to each example none of whose golds is whole in a window.

    Such a gold lies across the border of two windows, each of which would be trained as having no answer.

    Args:
        windows: All windows of the examples.
        golds: Their golds.
        context_lengths: Tokens of each example's context; ``[examples]``.
        rooms: Context tokens that a window of each example has room for; ``[examples]``.

    Returns:
        The windows, those of an example in the order of its text, and the examples that have one more.
    """
    lacking = ~has_whole_gold(windows, golds)
    example = np.repeat(np.arange(len(lacking)), np.diff(golds.bounds))
    length = golds.last - golds.first + 1
    gold = np.flatnonzero(lacking[example] & (length <= np.asarray(rooms)[example]))
    gold = gold[np.diff(example[gold], prepend=-1) > 0]  # the first of an example's
    added = example[gold]
    room = np.asarray(rooms)[added]
    # As much context before the gold as behind it, where there is so much.
    first = np.clip(golds.first[gold] - (room - length[gold]) // 2, 0, np.asarray(context_lengths)[added] - room)
    columns = ((windows.example, added), (windows.first, first), (windows.last, first + room))
    joined = Windows(*(np.concatenate(pair).astype(np.int32) for pair in columns))
    order = np.lexsort((joined.first, joined.example))
    return (Windows(joined.example[order], joined.first[order], joined.last[order]) if len(added) else windows), added


def concatenated_ranges(counts: IntArray) -> NDArray[np.int64]:
    """``0, 1, … counts[0] - 1, 0, 1, … counts[1] - 1, …``; int64 ``[sum of counts]``."""
    counts = np.asarray(counts, dtype=np.int64)
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
