"""Computes which scores windows and settings leave within reach: those of the golds' own tokens, and upper bounds."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qa_lightning.data.encode import TokenizedSplit
from qa_lightning.data.windows import GoldSpans, Windows, window_gold_pairs
from qa_lightning.scoring import mlqa
from qa_lightning.scoring.rules import normalizer, scorer


class Reach(NamedTuple):
    """Scores, 0 to 100, between which the best lie that windows and settings allow.

    Attributes:
        exact_of_golds: EM of answering each question with the tokens of a gold, as far as a window holds them and
            ``max_answer_length`` lets them be answered, or with nothing where that may be said and is right.
        f1_of_golds: F1 of the same.
        exact_at_most: No answers have a higher EM.
        f1_at_most: No answers have a higher F1.
    """

    exact_of_golds: float
    f1_of_golds: float
    exact_at_most: float
    f1_at_most: float


def reachable(
    texts: Sequence[str],
    context_index: Sequence[int],
    golds: Sequence[Sequence[str]],
    encoded: TokenizedSplit,
    windows: Windows,
    spans: GoldSpans,
    *,
    max_answer_length: int,
    null_allowed: bool,
    rule: str,
) -> Reach:
    """The means over all questions.

    Args:
        texts: The distinct contexts.
        context_index: Which of them each example has.
        golds: The published answers of each example.
        encoded: The examples' tokens.
        windows: All their windows.
        spans: Where golds stand, by example.
        max_answer_length: Tokens of an answer at most.
        null_allowed: Whether a question can be left unanswered.
        rule: By which answers are scored, as `scoring.rules` has it.
    """
    score, normalize = scorer(rule), normalizer(rule)
    reached = np.array([score("", published) if null_allowed else (0.0, 0.0) for published in golds])
    example, begins, ends = _parts_of_golds(encoded, windows, spans, max_answer_length)
    for row, begin, end in zip(example.tolist(), begins.tolist(), ends.tolist(), strict=True):
        if reached[row].min() < 1:
            reached[row] = np.maximum(reached[row], score(texts[context_index[row]][begin:end], golds[row]))

    room = min(max_answer_length, int((windows.last - windows.first).max()))
    at_most = reached.copy()
    hard = sorted(np.flatnonzero(reached.min(axis=1) < 1).tolist(), key=context_index.__getitem__)
    for context, rows in groupby(hard, key=context_index.__getitem__):
        words = None
        for row in rows:
            if words is None:
                begin, end = encoded.contexts.bounds[encoded.context_index[row] :][:2]
                words = _words(texts[context], encoded.contexts.offsets[begin:end], room, normalize)
            for gold in dict.fromkeys(golds[row]) or [""]:
                at_most[row] = np.maximum(at_most[row], _at_most(normalize(gold), words))
    return Reach(*(100 * np.concatenate([reached, at_most], axis=1).mean(axis=0)).tolist())


def covered(encoded: TokenizedSplit, golds: GoldSpans) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """First character and end, exclusive, of the tokens that cover each gold; int32 ``[golds]``."""
    contexts = np.repeat(encoded.context_index, np.diff(golds.bounds))
    begin, offsets = encoded.contexts.bounds[contexts], encoded.contexts.offsets
    return offsets[begin + golds.first, 0], offsets[begin + golds.last, 1]


def _parts_of_golds(
    encoded: TokenizedSplit, windows: Windows, spans: GoldSpans, max_answer_length: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Of each gold the longest part that can be an answer.

    Returns:
        The example, and the first character and the end, exclusive, of its part; ``[golds]``.
    """
    window, gold, _ = window_gold_pairs(windows, spans)
    offsets = encoded.contexts.offsets
    # Answers begin and end with tokens that cover something, as golds do, but not every part of a gold.
    visible = np.concatenate([[-1], np.flatnonzero(offsets[:, 0] < offsets[:, 1]), [len(offsets)]])
    shift = encoded.contexts.bounds[encoded.context_index[windows.example[window]]]
    begin = shift + np.maximum(spans.first[gold], windows.first[window])
    first = visible[np.searchsorted(visible, begin)]
    end = shift + np.minimum(spans.last[gold] + 1, windows.last[window])
    last = visible[np.searchsorted(visible, np.minimum(end, first + max_answer_length)) - 1]
    order = np.lexsort((first - last, gold))
    best = order[np.diff(gold[order], prepend=-1) > 0]
    best = best[first[best] <= last[best]]
    return windows.example[window[best]], offsets[first[best], 0], offsets[last[best], 1]


class _Words(NamedTuple):
    """What answers from a context can be made of.

    Attributes:
        running: Its words one after the other, each between spaces.
        plain: The same with articles, which may be cut into words.
        whole: The words of ``plain``.
        most: Words of an answer at most.
    """

    running: str
    plain: str
    whole: frozenset[str]
    most: int


def _words(context: str, offsets: NDArray[np.int32], room: int, normalize: Callable[[str], str]) -> _Words:
    """What answers of up to ``room`` tokens (whose offsets are int32 ``[tokens, 2]``) can be made of."""
    chunks = [found.span() for found in re.finditer(r"\S+", context)]
    starts, ends = np.array(chunks, dtype=np.int64).reshape(-1, 2).T
    before = np.cumsum([0, *(len(normalize(context[start:end]).split()) for start, end in chunks)])
    most = 0
    if len(chunks) and len(offsets):
        begin = offsets[:, 0]
        end = np.maximum.accumulate(offsets[:, 1])[np.minimum(np.arange(len(offsets)) + room, len(offsets)) - 1]
        first = np.minimum(np.searchsorted(ends, begin, side="right"), len(chunks) - 1)
        last = np.maximum(np.searchsorted(starts, end), 1)
        # A chunk that is cut can have one word more: part of an article is none.
        cut = (begin > starts[first]).astype(int) + (end < ends[last - 1])
        most = int((before[last] - before[first] + cut).max())
    plain = _plain(context)
    return _Words(f" {_one_sigma(normalize(context))} ", plain, frozenset(plain.split()), most)


def _at_most(gold: str, context: _Words) -> tuple[float, float]:
    """EM and F1, 0 to 1, that no answer exceeds, by one normalised gold.

    The words of an answer stand one after the other in its context, but for the first and the last, which may be
    parts of words.
    """
    words = gold.split()
    standing = sum(word in context.whole or word in context.plain for word in map(_plain, words))
    shared = min(standing, context.most)
    if shared < len(words):
        return 0.0, 2 * shared / (shared + len(words))
    inner = words[1:-1]
    return float(not inner or f" {_one_sigma(' '.join(inner))} " in context.running), 1.0


def _plain(text: str) -> str:
    """A text without case and punctuation."""
    return _one_sigma(mlqa.normalize(text, ""))


def _one_sigma(text: str) -> str:
    """A text with one small sigma, which Python chooses by what stands beside it."""
    return text.replace("ς", "σ")
