"""Ranks the spans of questions, from those of their windows; many questions at once."""

from __future__ import annotations

import numpy as np

from qa_lightning.records import ANSWER, AnswerRows
from qa_lightning.utils.arrays import BoolArray, FloatArray, IntArray


def rank_spans(
    questions: int, spans: AnswerRows, scores: FloatArray, question_of_window: IntArray
) -> tuple[AnswerRows, FloatArray, IntArray]:
    """Ranks the spans of each question, best first, each span once.

    Where several windows found the same span, the higher score counts. Spans with the same score are ordered by their
    start, then by their end. Those without a character are left out.

    Args:
        questions: How many questions there are.
        spans: The spans of each window; `ANSWER` ``[windows, n_best_size]``.
        scores: Their scores; what is not a finite number is padding; ``[windows, n_best_size]``.
        question_of_window: The index of each window's question; ``[windows]``.

    Returns:
        The spans, their scores, which are -inf behind the last (both ``[questions, n_best_size]``), and how many
        there are (``[questions]``).
    """
    shape = (questions, spans.shape[1])
    best, best_scores = np.zeros(shape, dtype=ANSWER), np.full(shape, -np.inf)
    usable = np.isfinite(scores) & (spans["start"] < spans["end"])
    places = (spans["start"].astype(np.int64) << 32) | spans["end"]

    # Most questions have one window, whose spans are all answers, ranked and different: these are not sorted again.
    alone = np.bincount(question_of_window, minlength=1)[question_of_window] == 1
    done = alone & usable.all(axis=1) & _are_ranked(scores, places) & _are_distinct(places)
    best[question_of_window[done]], best_scores[question_of_window[done]] = spans[done], scores[done]
    if not done.all():
        window, column = np.nonzero(usable & ~done[:, None])
        rows, values, of = spans[window, column], scores[window, column], question_of_window[window]
        order, rank = _rank(rows, values, of, places[window, column])
        order, rank = order[rank < shape[1]], rank[rank < shape[1]]
        best[of[order], rank], best_scores[of[order], rank] = rows[order], values[order]
    return best, best_scores, np.isfinite(best_scores).sum(axis=1)


def _are_ranked(scores: FloatArray, places: IntArray) -> BoolArray:
    """In which windows the spans are ordered by score, and of the same score by place; ``[windows]``."""
    before, after = scores[:, :-1], scores[:, 1:]
    ordered = (before > after) | ((before == after) & (places[:, :-1] < places[:, 1:]))
    return np.logical_and.reduce(ordered, axis=1)


def _are_distinct(places: IntArray) -> BoolArray:
    """In which windows no span occurs twice, as where several tokens make up one character; ``[windows]``."""
    ordered = np.sort(places, axis=1)
    return np.logical_and.reduce(ordered[:, :-1] < ordered[:, 1:], axis=1)


def _rank(rows: AnswerRows, scores: FloatArray, of: IntArray, places: IntArray) -> tuple[IntArray, IntArray]:
    """Ranks spans of questions, all ``[spans]``.

    Args:
        rows: The spans.
        scores: Their scores.
        of: The question of each.
        places: Numbers that order like start and end.

    Returns:
        Indices of spans, and the rank of each in its question, from 0. Each place of a question occurs once.
    """
    # Of those at one place the best comes first.
    order = np.lexsort((rows["end_logit"], rows["start_logit"], -scores, places, of))
    again = (np.diff(places[order]) == 0) & (np.diff(of[order]) == 0)
    order = order[np.append(True, ~again)[: len(order)]]
    # This sort is stable: what scores the same stays ordered by place.
    order = order[np.lexsort((-scores[order], of[order]))]
    ordered = of[order]
    return order, np.arange(len(order)) - np.searchsorted(ordered, ordered)
