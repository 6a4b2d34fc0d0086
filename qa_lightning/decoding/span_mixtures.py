"""Probabilities of the spans of a context, in characters, so that those of several models can be averaged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from qa_lightning.decoding.decoder import answer_logits
from qa_lightning.decoding.pairs import scores_pairs
from qa_lightning.decoding.spans import finite_logits, null_logits
from qa_lightning.decoding.token_probabilities import ScoredBatch
from qa_lightning.records import ANSWER, AnswerRows, Question
from qa_lightning.utils.arrays import Float32Array, FloatArray, Int64Array

_FINITE = np.finfo(np.float32)


class WindowScores(NamedTuple):
    """What a model says of one window; scores outside of the context are minus infinity.

    Attributes:
        starts: Scores of each token as the first; ``[length]``.
        ends: Scores of each token as the last; ``[length]``, or given each token as the first, ``[length, length]``.
        offsets: Characters that each token stands for, end exclusive; ``[length, 2]``.
        null: The score of null, which is finite.
    """

    starts: Float32Array
    ends: Float32Array
    offsets: Int64Array
    null: float


class SpanProbabilities(NamedTuple):
    """How likely each span of a context is the answer to a question, and null.

    Attributes:
        spans: First characters and ends, exclusive, each span once, by start, then by end; int64 ``[spans, 2]``.
        logs: The logarithms of their probabilities; ``[spans]``.
        null: That of null; minus infinity where there must be an answer.
    """

    spans: Int64Array
    logs: FloatArray
    null: float


class QuestionWindows(NamedTuple):
    """A question, and what a model says of its windows."""

    question: Question
    windows: list[WindowScores]


def windows_of_questions(scored: Iterable[ScoredBatch]) -> dict[int, QuestionWindows]:
    """Collects the windows of each question, by its row.

    Args:
        scored: All windows of the questions, in any order.
    """
    found: dict[int, QuestionWindows] = {}
    for batch, start_logits, end_logits in scored:
        *of_tokens, offsets = answer_logits(batch, start_logits, end_logits)
        mask = batch.context_mask
        starts, ends = (
            finite_logits(values, mask[:, None] if scores_pairs(values) else mask).cpu() for values in of_tokens
        )
        null = torch.stack(null_logits(start_logits, end_logits, batch.null_position)).double()
        nulls = null.clamp(float(_FINITE.min), float(_FINITE.max)).sum(0).tolist()
        arrays = starts.numpy(), ends.numpy(), offsets.cpu().numpy()
        for place, question in enumerate(batch.questions or ()):
            of_question = found.setdefault(question.row, QuestionWindows(question, []))
            window_starts, window_ends, window_offsets = (array[place] for array in arrays)
            of_question.windows.append(WindowScores(window_starts, window_ends, window_offsets, nulls[place]))
    return found


def span_probabilities(
    windows: Sequence[WindowScores], *, max_answer_length: int, null_allowed: bool
) -> SpanProbabilities:
    """Computes the softmax of a model's scores over all spans of a question's windows.

    Args:
        windows: As in `span_scores`.
        max_answer_length: As there.
        null_allowed: As there.
    """
    scores = span_scores(windows, max_answer_length=max_answer_length, null_allowed=null_allowed)
    return LogTotal.of(scores).normalize(scores)


def span_scores(windows: Sequence[WindowScores], *, max_answer_length: int, null_allowed: bool) -> SpanProbabilities:
    """Computes a model's scores of all spans of a question's windows: logarithms of what is not yet of sum 1.

    The score of a span is the sum of its start and end logit, of a span in several windows the highest one; that of
    null the lowest of the windows'.

    Args:
        windows: All windows of the question.
        max_answer_length: Most tokens of an answer.
        null_allowed: Whether null takes part.
    """
    parts = [_window_spans(window, max_answer_length) for window in windows]
    spans, scores = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.lexsort((-scores, spans[:, 1], spans[:, 0]))
    spans, scores = spans[order], scores[order]
    first = np.append(True, (np.diff(spans, axis=0) != 0).any(axis=1))[: len(spans)]
    null = min(window.null for window in windows) if null_allowed else -np.inf
    return SpanProbabilities(spans[first], scores[first], null)


class LogTotal:
    """The logarithm of a sum over the spans of any number of contexts, which are added one by one, and one null.

    Null is that of the context where it scores lowest.
    """

    def __init__(self) -> None:
        self._highest, self._sum, self._null = -np.inf, 0.0, np.inf

    @classmethod
    def of(cls, scores: SpanProbabilities) -> LogTotal:
        """That of one context."""
        total = cls()
        total.add(scores)
        return total

    def add(self, scores: SpanProbabilities) -> None:
        """Adds the spans of a context, with their scores."""
        self._null = min(self._null, scores.null)
        before, self._highest = self._highest, max(self._highest, scores.logs.max(initial=-np.inf))
        if self._highest > -np.inf:
            self._sum *= np.exp(before - self._highest)
            self._sum += np.exp(scores.logs - self._highest).sum()

    def normalize(self, scores: SpanProbabilities) -> SpanProbabilities:
        """Makes probabilities of the scores of a context that is part of the sum, and of the null of all contexts."""
        highest = max(self._null, self._highest)
        if highest == -np.inf:
            return SpanProbabilities(scores.spans, scores.logs, self._null)
        # Null may be minus infinity, and so may be what there is but null.
        spans = self._sum * np.exp(self._highest - highest)
        total = highest + np.log(spans + np.exp(self._null - highest))
        return SpanProbabilities(scores.spans, scores.logs - total, float(self._null - total))


def _window_spans(window: WindowScores, max_answer_length: int) -> tuple[Int64Array, FloatArray]:
    """All spans of one window that may be answers, with their scores."""
    length = len(window.starts)
    first = np.flatnonzero(window.starts != -np.inf)[:, None]
    last = first + np.arange(min(max_answer_length, length))
    inside = last < length
    last = last.clip(max=length - 1)
    ends = window.ends[last] if window.ends.ndim == 1 else window.ends[first, last]
    scores = window.starts[first].astype(np.float64) + ends
    spans = np.stack(np.broadcast_arrays(window.offsets[first, 0], window.offsets[last, 1]), axis=-1)
    usable = inside & (scores != -np.inf) & (spans[..., 0] < spans[..., 1])
    return spans[usable].astype(np.int64), scores[usable]


def mix(members: Sequence[SpanProbabilities], weights: Sequence[float]) -> SpanProbabilities:
    """Computes the mean of what several models say of one question.

    Args:
        members: Their probabilities; a span that one of them does not know has none with it.
        weights: How much each counts; 0 or more, of sum 1.
    """
    spans, logs, null = aligned(members)
    with np.errstate(divide="ignore"):
        of_models = np.log(np.asarray(weights, dtype=np.float64))[:, None]
        return SpanProbabilities(
            spans, np.logaddexp.reduce(logs + of_models, axis=0), float(np.logaddexp.reduce(null + of_models[:, 0]))
        )


def aligned(members: Sequence[SpanProbabilities]) -> tuple[Int64Array, FloatArray, FloatArray]:
    """Brings what several models say of one question to the same spans.

    Args:
        members: Their probabilities.

    Returns:
        The spans that any of them knows, in order, ``[spans, 2]``; the logarithms of their probabilities,
        ``[members, spans]``; and those of null, ``[members]``.
    """
    places = [each.spans[:, 0] << 32 | each.spans[:, 1] for each in members]
    known = np.unique(np.concatenate(places))
    logs = np.full((len(members), len(known)), -np.inf)
    for row, each, own in zip(logs, members, places, strict=True):
        row[np.searchsorted(known, own)] = each.logs
    spans = np.stack([known >> 32, known & 0xFFFFFFFF], axis=-1)
    return spans, logs, np.array([each.null for each in members])


def best_rows(mixture: SpanProbabilities, count: int) -> AnswerRows:
    """The most likely spans as rows, with null behind them, as `answer_questions` takes them.

    Of the two logits, the first is the logarithm of the probability, and the second what it loses in float32.

    Args:
        mixture: What is said of a question.
        count: How many spans; where there are fewer, logits of minus infinity fill up the rows.

    Returns:
        `ANSWER` ``[count + 1]``.
    """
    best = ranked(mixture)[:count]
    rows = np.zeros(count + 1, dtype=ANSWER)
    rows["start_logit"][:-1] = -np.inf
    rows["start"][: len(best)], rows["end"][: len(best)] = mixture.spans[best].T
    for place, logs in ((slice(len(best)), mixture.logs[best]), (slice(-1, None), np.array([mixture.null]))):
        logs = logs.clip(min=_FINITE.min)
        rows["start_logit"][place] = logs
        rows["end_logit"][place] = logs - rows["start_logit"][place].astype(np.float64)
    return rows


def ranked(mixture: SpanProbabilities) -> NDArray[np.intp]:
    """The indices of spans, the most likely first; of equally likely ones that which starts, then ends, earlier."""
    order = np.argsort(-mixture.logs, kind="stable")
    return order[mixture.logs[order] != -np.inf]


def distinct_rows(mixture: SpanProbabilities, count: int, folded_context: str) -> AnswerRows:
    """The best span of each of the most likely texts, best first, as rows without null.

    Args:
        mixture: What is said of a question.
        count: How many texts.
        folded_context: The context after `fold_case`: texts that differ in case only are the same.
    """
    kept: dict[str, int] = {}
    for place in ranked(mixture):
        start, end = mixture.spans[place].tolist()
        kept.setdefault(folded_context[start:end], int(place))
        if len(kept) == count:
            break
    places = list(kept.values())
    chosen = SpanProbabilities(mixture.spans[places], mixture.logs[places], -np.inf)
    return best_rows(chosen, len(places))[:-1]


def token_mixture(mixture: SpanProbabilities, tokens: Int64Array) -> tuple[FloatArray, FloatArray]:
    """Computes how likely the answer begins, and ends, with each of the tokens of a context.

    Args:
        mixture: What is said of a question.
        tokens: Characters of each token, end exclusive, ordered; ``[tokens, 2]``, at least one.

    Returns:
        Probabilities of starts and of ends; ``[tokens]`` each.
    """
    probabilities = np.exp(mixture.logs)
    starts, ends = mixture.spans[:, 0], mixture.spans[:, 1] - 1

    def of_tokens(characters: Int64Array) -> FloatArray:
        token = (np.searchsorted(tokens[:, 0], characters, side="right") - 1).clip(min=0)
        return np.bincount(token, weights=probabilities, minlength=len(tokens)).astype(np.float64)

    return of_tokens(starts), of_tokens(ends)
