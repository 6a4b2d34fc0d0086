"""From the spans of windows to one prediction for each question: merging, the null rule, probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from qa_lightning.records import Answer, Prediction, Question

_FINITE = torch.finfo(torch.float32)
# The null odds of a question that nothing answers: finite, since JSON knows no infinity.
_SUREST = _FINITE.max


class Window(NamedTuple):
    """What was decoded from one window of a question.

    Attributes:
        starts: First character in the context of each span.
        ends: End of each span in characters, exclusive.
        start_logits: Start logit of each span; spans with infinite logits are padding.
        end_logits: End logit of each span.
        null_start_logit: Start logit of the null answer, finite.
        null_end_logit: End logit of the null answer, finite.
    """

    starts: Sequence[int]
    ends: Sequence[int]
    start_logits: Sequence[float]
    end_logits: Sequence[float]
    null_start_logit: float
    null_end_logit: float


def answer_question(
    question: Question,
    windows: Sequence[Window],
    *,
    n_best_size: int,
    null_allowed: bool,
    null_score_diff_threshold: float,
) -> Prediction:
    """What all windows of a question say together; the order of the windows does not matter.

    Of a span that several windows found, the higher score counts. Answers with the same score are ordered by
    their start, then by their end. Spans that cover only whitespace are not answers. The null answer scores
    the minimum over the windows (a window without the answer says null, rightly, though another holds the
    answer), as in the original BERT script, and is predicted where its score exceeds the best other one by
    more than the threshold.

    Args:
        question: The question.
        windows: All its windows, at least one.
        n_best_size: How many answers are kept, at least 1. The null answer counts among them where its score
            is high enough; where it is not, it is appended as the last. The best other answer is kept in any
            case.
        null_allowed: Whether the question may be left unanswered. If not, the windows' null logits are not
            used.
        null_score_diff_threshold: By how much null must lead to be predicted.

    Returns:
        The prediction. Where nothing but null can be said, null is predicted and ``null_odds`` is the largest
        float32, a finite number that no threshold exceeds; where null is not allowed either, the text is
        empty and there are no answers.
    """
    found: dict[tuple[int, int], tuple[float, int, int, float, float]] = {}
    for window in windows:
        for start, end, start_logit, end_logit in zip(*window[:4], strict=True):
            if math.isfinite(start_logit + end_logit) and question.context[start:end].strip():
                span = (-(start_logit + end_logit), start, end, start_logit, end_logit)
                found[start, end] = min(span, found.get((start, end), span))
    ranked = [
        (question.context[start:end], start, end, start_logit, end_logit)
        for _, start, end, start_logit, end_logit in sorted(found.values())
    ]
    if not null_allowed:
        answers = _with_probabilities(ranked[:n_best_size])
        return Prediction(question, answers[0].text if answers else "", answers, None)

    null_score, null_start, null_end = min(
        (w.null_start_logit + w.null_end_logit, w.null_start_logit, w.null_end_logit) for w in windows
    )
    better = sum(-negated >= null_score for negated, *_ in found.values())
    kept = ranked[: max(1, n_best_size - (better < n_best_size))]
    kept.insert(better, ("", 0, 0, null_start, null_end))
    answers = _with_probabilities(kept)
    if not ranked:
        return Prediction(question, "", answers, _SUREST)
    null_odds = null_score - (ranked[0][3] + ranked[0][4])
    text = "" if null_odds > null_score_diff_threshold else ranked[0][0]
    return Prediction(question, text, answers, null_odds)


def _with_probabilities(ranked: list[tuple[str, int, int, float, float]]) -> tuple[Answer, ...]:
    """Answers with a softmax over their scores; each is text, start, end, start logit, end logit."""
    scores = [start_logit + end_logit for *_, start_logit, end_logit in ranked]
    highest = max(scores, default=0.0)
    weights = [math.exp(score - highest) for score in scores]
    total = sum(weights)
    return tuple(Answer(*answer, weight / total) for answer, weight in zip(ranked, weights, strict=True))


class AnswerCollector:
    """Gathers windows batch by batch, and gives a question's prediction once all its windows were seen.

    Args:
        n_best_size: How many answers of each question are kept.
        null_allowed: Whether a question may be left unanswered.
        null_score_diff_threshold: By how much null must lead to be predicted.
    """

    def __init__(self, n_best_size: int, null_allowed: bool, null_score_diff_threshold: float) -> None:
        self.n_best_size = n_best_size
        self.null_allowed = null_allowed
        self.null_score_diff_threshold = null_score_diff_threshold
        self._seen: dict[int, list[Window]] = {}

    def reset(self) -> None:
        """Forget the questions of which some windows are still to come."""
        self._seen.clear()

    def add(
        self,
        questions: Sequence[Question],
        char_starts: Tensor,
        char_ends: Tensor,
        start_logits: Tensor,
        end_logits: Tensor,
        null_start_logits: Tensor,
        null_end_logits: Tensor,
    ) -> list[Prediction]:
        """Take the windows of one batch; the tensors may be on any device.

        Args:
            questions: The question of each window; questions are told apart by ``row``.
            char_starts: First characters of the spans; int64 ``[batch, k]``.
            char_ends: Ends of the spans in characters, exclusive; int64 ``[batch, k]``.
            start_logits: Start logits of the spans, infinite in padding; float32 ``[batch, k]``.
            end_logits: End logits of the spans, infinite in padding; float32 ``[batch, k]``.
            null_start_logits: Start logits of the null answers; float32 ``[batch]``. What is not a finite
                number counts as the lowest (or the highest, if positive) that is.
            null_end_logits: End logits of the null answers, likewise; float32 ``[batch]``.

        Returns:
            The predictions of the questions whose last window is in this batch. A question that lacks a
            window, as in a limited or interrupted validation, has none.
        """
        null_starts, null_ends = (logits.nan_to_num(nan=_FINITE.min) for logits in (null_start_logits, null_end_logits))
        spans = (char_starts, char_ends, start_logits, end_logits, null_starts, null_ends)
        # Plain lists: below, a few numbers at a time are compared, which NumPy does slowly.
        columns = [column.cpu().numpy().tolist() for column in spans]
        answered = []
        for question, *window in zip(questions, *columns, strict=True):
            seen = self._seen.setdefault(question.row, [])
            seen.append(Window(*window))
            if len(seen) == question.windows:
                prediction = answer_question(
                    question,
                    self._seen.pop(question.row),
                    n_best_size=self.n_best_size,
                    null_allowed=self.null_allowed,
                    null_score_diff_threshold=self.null_score_diff_threshold,
                )
                answered.append(prediction)
        return answered
