"""Merges the spans of windows into one prediction for each question: the null rule and probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from qa_lightning.decoding.ranking import rank_spans
from qa_lightning.decoding.temperatures import PLAIN_SOFTMAX, Temperatures, answer_probabilities
from qa_lightning.records import ANSWER, AnswerRows, Answers, Prediction, Question
from qa_lightning.utils.arrays import FloatArray, IntArray

_FINITE = torch.finfo(torch.float32)
# The null odds of a question that nothing answers: finite, since JSON knows no infinity.
_HIGHEST_NULL_ODDS = _FINITE.max


class AnswerCollector:
    """Collects windows batch by batch, and returns a question's prediction once all its windows were added.

    Args:
        null_allowed: Whether a question may be left unanswered.
        null_score_diff_threshold: The margin by which null must lead to be predicted.
        temperatures: How scores become probabilities.
    """

    def __init__(
        self, null_allowed: bool, null_score_diff_threshold: float, temperatures: Temperatures = PLAIN_SOFTMAX
    ) -> None:
        self.null_allowed = null_allowed
        self.null_score_diff_threshold = null_score_diff_threshold
        self.temperatures = temperatures
        self._waiting: dict[int, AnswerRows] = {}

    def add(self, questions: Sequence[Question], windows: AnswerRows) -> list[Prediction]:
        """Adds the windows of one batch.

        Args:
            questions: The question of each window; questions are identified by ``row``.
            windows: What `window_answers` returned, in the host's memory, by `to_answer_rows`; `ANSWER`
                ``[batch, n_best_size + 1]``.

        Returns:
            The predictions of the questions whose last window is in this batch. A question that lacks a
            window, as in a limited or interrupted validation, has none.
        """
        places_of_row: dict[int, list[int]] = {}
        for place, question in enumerate(questions):
            places_of_row.setdefault(question.row, []).append(place)
        answered: list[Question] = []
        complete: list[int] = []
        question_of_window: list[int] = []
        for row, places in places_of_row.items():
            question = questions[places[0]]
            if len(places) < question.windows:
                seen = np.concatenate([self._waiting.pop(row, windows[:0]), windows[places]], dtype=ANSWER)
                if len(seen) < question.windows:
                    self._waiting[row] = seen
                    continue
                places = [*range(len(windows), len(windows) + len(seen))]
                windows = np.concatenate([windows, seen], dtype=ANSWER)
            complete += places
            question_of_window += [len(answered)] * len(places)
            answered.append(question)
        if not answered:
            return []
        return answer_questions(
            answered,
            windows[complete],
            np.array(question_of_window),
            null_allowed=self.null_allowed,
            null_score_diff_threshold=self.null_score_diff_threshold,
            temperatures=self.temperatures,
        )


def window_answers(
    char_starts: Tensor,
    char_ends: Tensor,
    start_logits: Tensor,
    end_logits: Tensor,
    null_start_logits: Tensor,
    null_end_logits: Tensor,
) -> Tensor:
    """Packs the answers of windows into one tensor, so that they leave a GPU in one copy; on any device.

    Args:
        char_starts: First characters of the spans; int64 ``[batch, n_best_size]``.
        char_ends: Ends of the spans in characters, exclusive; int64 ``[batch, n_best_size]``.
        start_logits: Start logits of the spans, infinite in padding; float32 ``[batch, n_best_size]``.
        end_logits: End logits of the spans, infinite in padding; float32 ``[batch, n_best_size]``.
        null_start_logits: Start logits of the null answers; float32 ``[batch]``. What is not a finite
            number counts as the lowest (or the highest, if positive) that is.
        null_end_logits: End logits of the null answers, likewise; float32 ``[batch]``.

    Returns:
        Start, end and the bits of both logits of each span, and of null behind them; int32
        ``[batch, n_best_size + 1, 4]``.
    """
    null = torch.stack([null_start_logits, null_end_logits], dim=-1).nan_to_num(nan=_FINITE.min)
    logits = torch.cat([torch.stack([start_logits, end_logits], dim=-1), null[:, None]], dim=1)
    spans = torch.nn.functional.pad(torch.stack([char_starts, char_ends], dim=-1).int(), (0, 0, 0, 1))
    return torch.cat([spans, logits.contiguous().view(torch.int32)], dim=-1)


def to_answer_rows(windows: Tensor) -> AnswerRows:
    """Unpacks answers into rows of `ANSWER` ``[batch, n_best_size + 1]``, with probabilities of zero.

    Args:
        windows: What `window_answers` returned, on the CPU; int32 ``[batch, n_best_size + 1, 4]``.
    """
    rows = np.zeros(windows.shape[:2], dtype=ANSWER)
    columns = windows.numpy()
    rows["start"], rows["end"] = columns[..., 0], columns[..., 1]
    rows["start_logit"], rows["end_logit"] = np.moveaxis(columns[..., 2:].copy().view(np.float32), -1, 0)
    return rows


def answer_questions(
    questions: Sequence[Question],
    windows: AnswerRows,
    question_of_window: IntArray,
    *,
    null_allowed: bool,
    null_score_diff_threshold: float,
    temperatures: Temperatures = PLAIN_SOFTMAX,
) -> list[Prediction]:
    """Answers questions from all windows of each; the order of the windows does not matter.

    Of a span that several windows found, the higher score counts. Answers with the same score are ordered by
    their start, then by their end. Spans without a character are not answers. The null answer scores the
    minimum over the windows (a window without the answer says null, rightly, though another holds the
    answer), as in the original BERT script, and is predicted where its score exceeds the best other one by
    more than the threshold.

    As many answers are kept as a window has spans. The null answer counts among them where its score is high
    enough; where it is not, it is appended as the last. The best other answer is kept in any case.

    Args:
        questions: The questions.
        windows: The spans of each window, of which those with infinite logits are padding, and as the last its
            null answer, whose logits are finite; `ANSWER` ``[windows, n_best_size + 1]``.
        question_of_window: The index of each window's question, which has at least one; ``[windows]``.
        null_allowed: Whether a question may be left unanswered. If not, the null answers are not used.
        null_score_diff_threshold: The margin by which null must lead to be predicted.
        temperatures: How scores become probabilities; no answer, and no order of answers, depends on them.

    Returns:
        The predictions. Where nothing but null can be said, null is predicted and ``null_odds`` is the largest
        float32, a finite number that no threshold exceeds; where null is not allowed either, the text is
        empty and there are no answers.
    """
    found = rank_windows(len(questions), windows, question_of_window, null_allowed=null_allowed)
    starts, ends = found.spans["start"][:, 0].tolist(), found.spans["end"][:, 0].tolist()
    ranked = rank_with_null(found, null_score_diff_threshold, temperatures)
    rows = zip(questions, ranked.says_null, starts, ends, ranked.answers, ranked.null_odds, strict=True)
    return [
        Prediction(question, "" if null else question.context[start:end], Answers(question.context, answers), odds)
        for question, null, start, end, answers, odds in rows
    ]


def span_scores(rows: AnswerRows) -> FloatArray:
    """The sums of start and end logit, in float64, which rank answers; those of opposite infinities are NaN."""
    with np.errstate(invalid="ignore"):
        return rows["start_logit"].astype(np.float64) + rows["end_logit"]


class RankedSpans(NamedTuple):
    """The best spans of some questions.

    Attributes:
        spans: Best first; `ANSWER` ``[questions, n_best_size]``.
        scores: Their scores, minus infinity behind the last; ``[questions, n_best_size]``.
        counts: How many spans there are; ``[questions]``.
        nulls: The null answer of each, that of the window where it scores lowest; ``[questions]``, with the fields of
            ``spans``; None where null is not allowed.
    """

    spans: AnswerRows
    scores: FloatArray
    counts: IntArray
    nulls: AnswerRows | None


class RankedAnswers(NamedTuple):
    """The answers to some questions.

    Attributes:
        answers: Those to each, best first, with probabilities, and null among them where it is allowed.
        says_null: Whether null, or nothing, is predicted.
        null_odds: Null score minus the best other score; None where null is not allowed.
    """

    answers: list[AnswerRows]
    says_null: list[bool]
    null_odds: Sequence[float | None]


def rank_windows(
    questions: int, windows: AnswerRows, question_of_window: IntArray, *, null_allowed: bool
) -> RankedSpans:
    """Ranks the spans of all windows of each question; see `answer_questions`.

    Args:
        questions: How many there are.
        windows: As there.
        question_of_window: As there.
        null_allowed: As there.
    """
    sums = span_scores(windows)
    spans = rank_spans(questions, windows[:, :-1], sums[:, :-1], question_of_window)
    if not null_allowed:
        return RankedSpans(*spans, None)
    return RankedSpans(*spans, windows[_lowest_null(windows[:, -1], sums[:, -1], question_of_window), -1])


def rank_with_null(
    found: RankedSpans, null_score_diff_threshold: float, temperatures: Temperatures = PLAIN_SOFTMAX
) -> RankedAnswers:
    """Decides for each question between null and its best span, and computes probabilities; see `answer_questions`.

    Args:
        found: The best spans and null.
        null_score_diff_threshold: The margin by which null must lead to be predicted.
        temperatures: How scores become probabilities.
    """
    spans, scores, counts, nulls = found
    says_null = counts == 0
    null_odds: Sequence[float | None] = [None] * len(spans)
    if nulls is not None:
        null_scores = span_scores(nulls)
        odds = np.where(says_null, _HIGHEST_NULL_ODDS, null_scores - scores[:, 0])
        says_null |= odds > null_score_diff_threshold
        null_odds = odds.tolist()
        spans, scores, counts = _insert_null(spans, scores, counts, nulls, null_scores)
    is_null = (spans["end"] == 0) & (scores != -np.inf)
    spans["probability"] = answer_probabilities(scores, is_null, temperatures)
    answers = [rows[:count] for rows, count in zip(spans, counts.tolist(), strict=True)]
    return RankedAnswers(answers, says_null.tolist(), null_odds)


def _lowest_null(nulls: AnswerRows, scores: FloatArray, question_of_window: IntArray) -> IntArray:
    """The window of each question whose null answer scores lowest; ``[questions]``."""
    order = np.lexsort((nulls["end_logit"], nulls["start_logit"], scores, question_of_window))
    return order[np.append(True, np.diff(question_of_window[order]) > 0)[: len(order)]]


def _insert_null(
    spans: AnswerRows, scores: FloatArray, counts: IntArray, nulls: AnswerRows, null_scores: FloatArray
) -> tuple[AnswerRows, FloatArray, IntArray]:
    """Inserts null among the answers of each question.

    Args:
        spans: The others, best first; ``[questions, n_best_size]``.
        scores: Their scores; ``[questions, n_best_size]``.
        counts: How many others there are; ``[questions]``.
        nulls: The null answers; ``[questions]``.
        null_scores: Their scores; ``[questions]``.

    Returns:
        The answers and their scores, ``[questions, n_best_size + 1]``, and how many there are, ``[questions]``.
    """
    size = spans.shape[1]
    better = (scores >= null_scores[:, None]).sum(axis=1)
    counts = np.minimum(counts, np.maximum(1, size - (better < size)))
    place, column, row = np.minimum(better, counts), np.arange(size + 1), np.arange(len(spans))
    source = np.minimum(column - (column > place[:, None]), size - 1)
    answers, values = spans[row[:, None], source], scores[row[:, None], source]
    answers[row, place], values[row, place] = nulls, null_scores
    values[column > counts[:, None]] = -np.inf
    return answers, values, counts + 1
