"""Gathers single windows, or texts, of several splits into one of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from qa_lightning.data.encode import TokenizedSplit
from qa_lightning.data.layout import Layout
from qa_lightning.data.tokens import TokenIds, Tokens
from qa_lightning.data.windows import GoldSpans, Windows
from qa_lightning.utils.arrays import Int64Array


class WindowSource(NamedTuple):
    """A window: a split's tokens, the example's row in it, and the first context token and one past the last."""

    encoded: TokenizedSplit
    example: int
    first: int
    last: int


def gather_windows(layout: Layout, sources: Sequence[WindowSource]) -> tuple[TokenizedSplit, Windows]:
    """Copies windows into a split in which each is an example by itself, with the golds that it holds whole.

    Args:
        layout: How question and context are joined, which is the same in all.
        sources: The windows; at least one.
    """
    questions, contexts, offsets, firsts, lasts, unlabelled = [], [], [], [], [], []
    for encoded, example, first, last in sources:
        begin = encoded.questions.bounds[encoded.question_index[example]]
        questions.append(encoded.questions.ids[begin : begin + encoded.question_lengths[example]])
        begin = encoded.contexts.bounds[encoded.context_index[example]]
        contexts.append(encoded.contexts.ids[begin + first : begin + last])
        offsets.append(encoded.contexts.offsets[begin + first : begin + last])
        golds = slice(*encoded.golds.bounds[example : example + 2])
        starts, ends = encoded.golds.first[golds], encoded.golds.last[golds]
        whole = (starts >= first) & (ends < last)
        firsts.append(starts[whole] - first)
        lasts.append(ends[whole] - first)
        unlabelled.append(bool(encoded.unlabelled[example]))
    rows = np.arange(len(sources))
    lengths = [len(ids) for ids in contexts]
    gathered = TokenizedSplit(
        layout=layout,
        questions=TokenIds(np.concatenate(questions), _bounds([len(ids) for ids in questions])),
        question_index=rows,
        question_lengths=np.array([len(ids) for ids in questions], dtype=np.int64),
        contexts=Tokens(np.concatenate(contexts), _bounds(lengths), np.concatenate(offsets)),
        context_index=rows,
        golds=GoldSpans(np.concatenate(firsts), np.concatenate(lasts), _bounds([len(part) for part in firsts])),
        unlabelled=np.array(unlabelled),
    )
    whole_contexts = np.array(lengths, dtype=np.int32)
    return gathered, Windows(rows.astype(np.int32), np.zeros_like(whole_contexts), whole_contexts)


def gather_tokens(sources: Sequence[tuple[Tokens, int]]) -> Tokens:
    """Copies the tokens of single texts, each given by the tokens of many and its row there; at least one."""
    parts = [(tokens, slice(*tokens.bounds[row : row + 2])) for tokens, row in sources]
    ids = [tokens.ids[part] for tokens, part in parts]
    offsets = np.concatenate([tokens.offsets[part] for tokens, part in parts])
    return Tokens(np.concatenate(ids), _bounds([len(of_text) for of_text in ids]), offsets)


def _bounds(lengths: Sequence[int]) -> Int64Array:
    return np.cumsum([0, *lengths], dtype=np.int64)
