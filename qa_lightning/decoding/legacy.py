"""Answers as the question-answering pipeline of transformers, removed in 5.3, gave them; for comparison only.

Its faults are kept: see `reader.Reader`. It looked at one window at a time, and so does this.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qa_lightning.records import AnswerDict, Batch, Question


class LegacyPrediction(NamedTuple):
    """The answers to a question, best first."""

    question: Question
    answers: list[AnswerDict]


class _Window(NamedTuple):
    """A window's logits, float32 ``[length]``, and of its tokens whether they may be chosen, and their characters."""

    start: NDArray[np.float32]
    end: NDArray[np.float32]
    allowed: NDArray[np.bool_]
    offsets: NDArray[np.int64]
    words: NDArray[np.int64]


class LegacyDecoder:
    """Answers questions, each as soon as all of its windows were seen.

    Args:
        top_k: Most answers to each question.
        max_answer_len: Most tokens of an answer, before it is widened to words.
        null_allowed: Whether "no answer" is among the answers.
    """

    def __init__(self, top_k: int, max_answer_len: int, null_allowed: bool) -> None:
        self.top_k = top_k
        self.max_answer_len = max_answer_len
        self.null_allowed = null_allowed
        self._waiting: dict[int, list[_Window]] = {}

    def answer(self, batch: Batch, start_logits: Tensor, end_logits: Tensor) -> list[LegacyPrediction]:
        """The answers to the questions whose last window is in this batch, best first.

        Args:
            batch: Windows with offsets and questions; where it has words, answers are widened to them.
            start_logits: Scores of each token as the first; floating point, ``[batch, length]``.
            end_logits: Scores of each token as the last; floating point, ``[batch, length]``.
        """
        assert batch.offsets is not None
        answered = []
        null = torch.nn.functional.one_hot(batch.null_position.clamp(min=0), start_logits.shape[1]) > 0
        allowed = batch.context_mask | (null & (batch.null_position >= 0)[:, None])
        words = batch.offsets if batch.words is None else batch.words
        columns = [start_logits.float(), end_logits.float(), allowed, batch.offsets, words]
        for row, question in enumerate(batch.questions or ()):
            real = batch.inputs["attention_mask"][row] > 0
            window = _Window(*(column[row][real].cpu().numpy() for column in columns))
            seen = self._waiting.setdefault(question.row, [])
            seen.append(window)
            if len(seen) == question.windows:
                windows = self._waiting.pop(question.row)
                answered.append(
                    LegacyPrediction(question, self._merge_windows(question.context, windows, batch.words is not None))
                )
        return answered

    def _merge_windows(self, context: str, windows: list[_Window], aligned: bool) -> list[AnswerDict]:
        """The answers of all windows; the scores of equal texts are summed, which may exceed 1."""
        candidates = 2 * self.top_k + 10 if aligned else self.top_k
        null_score = 1_000_000.0
        found: dict[str, AnswerDict] = {}
        for window in windows:
            starts, ends, scores, null = _best_spans(window, candidates, self.max_answer_len)
            null_score = min(null_score, null)
            for start, end, score in zip(starts.tolist(), ends.tolist(), scores.tolist(), strict=True):
                first, last = _span_characters(window, start, end)
                text = context[first:last]
                if text.lower() in found:
                    found[text.lower()]["score"] += score
                else:
                    found[text.lower()] = {"score": score, "start": first, "end": last, "answer": text}
        answers = list(found.values())
        if self.null_allowed:
            answers.append({"score": null_score, "start": 0, "end": 0, "answer": ""})
        return sorted(answers, key=lambda answer: answer["score"], reverse=True)[: self.top_k]


def _best_spans(window: _Window, candidates: int, max_answer_len: int) -> tuple[Any, Any, Any, float]:
    """The best spans of a window by the product of two softmaxes, their scores, and the score of null."""
    start, end = (
        _softmax(np.where(window.allowed, logits, np.float32(-10_000))) for logits in (window.start, window.end)
    )
    null = float(start[0] * end[0])
    start[0] = end[0] = 0.0
    # All pairs of a start and an end, zero where they make no span. What scores zero is among the best where there
    # is nothing else, and how NumPy orders equals decides which of them.
    pairs = np.tril(np.triu(start[:, None] * end[None]), max_answer_len - 1).flatten()
    if candidates == 1:
        best = np.array([np.argmax(pairs)])
    elif len(pairs) < candidates:
        best = np.argsort(-pairs)
    else:
        best = np.argpartition(-pairs, candidates)[:candidates]
        best = best[np.argsort(-pairs[best])]
    starts, ends = np.divmod(best, len(start))
    kept = window.allowed[starts] & window.allowed[ends]
    return starts[kept], ends[kept], pairs[best][kept], null


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def _span_characters(window: _Window, start: int, end: int) -> tuple[int, int]:
    """The characters from the word of one token to that of another, as far as the window holds these."""
    offsets = window.offsets
    covering = offsets[:, 0] < offsets[:, 1]
    if covering[start] and covering[end]:
        in_window = offsets[covering]
        return int(max(window.words[start, 0], in_window[0, 0])), int(min(window.words[end, 1], in_window[-1, 1]))
    return int(offsets[start, 0]), int(offsets[end, 1])
