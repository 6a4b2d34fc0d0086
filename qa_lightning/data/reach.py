"""The best scores that windows and settings leave within reach: no model can do better than the best spans."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qa_lightning.data.collate import Encoded
from qa_lightning.data.windows import Golds, Windows, holds, ranges
from qa_lightning.scoring.squad import normalize, score_question

Ints = NDArray[np.integer]

MOST_SEARCHED = 2000
"""Questions of which every span is looked at; where there are more to look at, a sample of so many is."""

_SPANS_AT_ONCE = 1 << 18


class Ceiling(NamedTuple):
    """The best scores that can be reached, each by itself.

    Attributes:
        exact: EM, 0 to 100.
        f1: F1, 0 to 100.
        hard: Questions that no gold's own tokens answer exactly, so that all their spans must be looked at.
        searched: How many of these were; where not all, the scores are estimates.
    """

    exact: float
    f1: float
    hard: int
    searched: int


class Place(NamedTuple):
    """Where the answers to one question can be looked for.

    Attributes:
        context: The context.
        offsets: Characters that each of its tokens covers, as `tokens.Tokens` has them; int ``[tokens, 2]``.
        first: First context token of each window, ascending; ``[windows]``.
        last: One past the last context token of each window, ascending; ``[windows]``. Between them, the windows
            leave no token out.
    """

    context: str
    offsets: Ints
    first: Ints
    last: Ints


def reachable(
    contexts: Sequence[str],
    golds: Sequence[Sequence[str]],
    encoded: Encoded,
    windows: Windows,
    spans: Golds,
    *,
    max_answer_length: int,
    null_allowed: bool,
    seed: int,
) -> Ceiling:
    """The means over all questions of the best scores that each could get; see `best_scores`.

    Most questions need no search: a gold's own tokens can be answered, and read as it does.

    Args:
        contexts: The context of each example.
        golds: The published answers of each example.
        encoded: Their tokens.
        windows: All their windows.
        spans: Where golds stand, by example.
        max_answer_length: Tokens of an answer at most.
        null_allowed: Whether a question can be left unanswered.
        seed: Of the sample that is searched where there are too many questions to search them all.
    """
    _, gold, whole = holds(windows, spans)
    legal = np.zeros(len(spans.first), dtype=bool)
    legal[gold[whole]] = True
    legal &= spans.last - spans.first < max_answer_length
    example = np.repeat(np.arange(len(golds)), np.diff(spans.bounds))
    easy = np.array([null_allowed and not published for published in golds])
    columns = (example, *covered(encoded, spans))
    for row, begin, end in zip(*(column[legal].tolist() for column in columns), strict=True):
        easy[row] = easy[row] or score_question(contexts[row][begin:end], golds[row])[0] == 1.0

    hard = np.flatnonzero(~easy)
    searched = hard
    if len(hard) > MOST_SEARCHED:
        searched = np.random.default_rng(seed).choice(hard, MOST_SEARCHED, replace=False)
    scores = []
    for row in searched.tolist():
        first, last = np.searchsorted(windows.example, [row, row + 1])
        begin, end = encoded.contexts.bounds[encoded.context_of[row] :][:2]
        place = Place(
            contexts[row], encoded.contexts.offsets[begin:end], windows.first[first:last], windows.last[first:last]
        )
        scores.append(best_scores(place, golds[row], max_answer_length=max_answer_length, null_allowed=null_allowed))
    of_hard = np.array(scores).reshape(-1, 2).sum(axis=0) * (len(hard) / max(1, len(searched)))
    exact, f1 = 100 * (easy.sum() + of_hard) / len(golds)
    return Ceiling(float(exact), float(f1), len(hard), len(searched))


def covered(encoded: Encoded, golds: Golds) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """First character and end, exclusive, of the tokens that cover each gold; int32 ``[golds]``."""
    contexts = np.repeat(encoded.context_of, np.diff(golds.bounds))
    begin, offsets = encoded.contexts.bounds[contexts], encoded.contexts.offsets
    return offsets[begin + golds.first, 0], offsets[begin + golds.last, 1]


def best_scores(
    place: Place, golds: Sequence[str], *, max_answer_length: int, null_allowed: bool
) -> tuple[float, float]:
    """The highest EM and the highest F1 that a prediction could get, each by itself.

    What can be predicted: the text from the first character of one token to the last of another, both of which
    cover at least one character, lie in the same window and are at most ``max_answer_length`` tokens apart, ends
    counted; and the empty text, where null is allowed or there is nothing else.

    The words of such a text are those of its chunks between white space: the end of one, whole ones, and the
    beginning of another. So each chunk is normalised once, and each token's two parts of its chunk; the words
    that a span shares with a gold are sums of these, for all spans at once.

    Args:
        place: Where to look.
        golds: The published answers; empty for an unanswerable question.
        max_answer_length: Tokens of an answer at most.
        null_allowed: Whether the empty text can be predicted.

    Returns:
        EM, 0.0 or 1.0, and F1, 0.0 to 1.0, as `scoring.squad.score_question` has them.
    """
    wanted = sorted({normalize(gold) for gold in golds} - {""}) or [""]
    bags = _Bags(place, [gold.split() for gold in wanted])
    exact = best = 0.0
    seen = False
    for starts, ends in _spans(place, max_answer_length):
        seen = seen or len(starts) > 0
        counts = bags.of_spans(starts, ends)
        words = counts[:, -1]
        for gold, bag in zip(wanted, bags.wanted, strict=True):
            shared = np.minimum(counts[:, :-1], bag[:-1]).sum(axis=1)
            some = shared > 0
            precision = shared[some] / words[some]
            recall = shared[some] / bag[-1]
            # In the order of operations that the scorer has, so that not even the last bit differs.
            best = max(best, float((2 * precision * recall / (precision + recall)).max(initial=0.0)))
            # Of the same words: are they in the same order?
            for span in np.flatnonzero((shared == bag[-1]) & (words == bag[-1])) if not exact else ():
                if normalize(bags.text(starts[span], ends[span])) == gold:
                    exact = best = 1.0
                    break
        if exact:
            break
    if null_allowed or not seen:
        empty = score_question("", golds)
        exact, best = max(exact, empty[0]), max(best, empty[1])
    return exact, best


def _spans(place: Place, max_answer_length: int) -> Iterator[tuple[Ints, Ints]]:
    """First and last tokens (inclusive) of all spans that can be answers, some at a time; ``[spans]`` each."""
    offsets, first, last = place.offsets, place.first, place.last
    visible = offsets[:, 0] < offsets[:, 1]
    tokens = np.flatnonzero(visible)
    tokens = tokens[(tokens >= first[0]) & (tokens < last[-1])]
    # Of the windows that hold a token, the last one reaches furthest.
    window = np.searchsorted(first, tokens, side="right") - 1
    count = np.minimum(last[window] - tokens, max_answer_length)
    at_once = max(1, _SPANS_AT_ONCE // max_answer_length)
    for begin in range(0, len(tokens), at_once):
        part = slice(begin, begin + at_once)
        starts = np.repeat(tokens[part], count[part])
        ends = starts + ranges(count[part])
        legal = visible[ends] & (offsets[starts, 0] < offsets[ends, 1])
        yield starts[legal], ends[legal]


class _Bags:
    """How often the gold's words stand in parts of a context.

    A bag is an int ``[words + 1]``: the count of each distinct word of the golds, and of all words in the last
    column.

    Args:
        place: The context and its tokens.
        golds: The normalised words of each gold.
    """

    def __init__(self, place: Place, golds: Sequence[Sequence[str]]) -> None:
        self._context = place.context
        self._columns = {word: i for i, word in enumerate(sorted({word for gold in golds for word in gold}))}
        self._begin, self._end = place.offsets[:, 0], place.offsets[:, 1]
        chunks = [found.span() for found in re.finditer(r"\S+", place.context)]
        self.wanted = self._bags(golds)
        starts, ends = np.array(chunks, dtype=np.int64).reshape(-1, 2).T
        self._first_chunk = np.searchsorted(ends, self._begin, side="right")
        self._last_chunk = np.searchsorted(starts, self._end - 1, side="right") - 1
        whole = self._bags([self._words(*chunk) for chunk in chunks])
        self._before = np.concatenate([np.zeros_like(whole[:1]), whole]).cumsum(axis=0)
        tails, heads = [], []
        columns = (self._begin, self._end, self._first_chunk, self._last_chunk)
        for begin, end, first, last in zip(*(column.tolist() for column in columns), strict=True):
            visible = begin < end
            tails.append(self._words(begin, chunks[first][1]) if visible else [])
            heads.append(self._words(chunks[last][0], end) if visible else [])
        self._tails, self._heads = self._bags(tails), self._bags(heads)

    def text(self, start: int, end: int) -> str:
        """The characters from one token to another."""
        return self._context[self._begin[start] : self._end[end]]

    def of_spans(self, starts: Ints, ends: Ints) -> NDArray[np.int64]:
        """The bag of each span of tokens; int64 ``[spans, words + 1]``."""
        first, last = self._first_chunk[starts], self._last_chunk[ends]
        counts = self._tails[starts] + (self._before[last] - self._before[first + 1]) + self._heads[ends]
        within = np.flatnonzero(first == last)
        if len(within):
            pairs = zip(self._begin[starts[within]].tolist(), self._end[ends[within]].tolist(), strict=True)
            counts[within] = self._bags([self._words(*pair) for pair in pairs])
        return counts

    def _words(self, begin: int, end: int) -> list[str]:
        return normalize(self._context[begin:end]).split()

    def _bags(self, texts: Sequence[Sequence[str]]) -> NDArray[np.int64]:
        counts = np.zeros((len(texts), len(self._columns) + 1), dtype=np.int64)
        for row, words in enumerate(texts):
            for word in words:
                if word in self._columns:
                    counts[row, self._columns[word]] += 1
            counts[row, -1] = len(words)
        return counts
