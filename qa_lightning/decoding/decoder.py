"""Decodes the logits of batches into predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from qa_lightning.decoding.answers import AnswerCollector, to_answer_rows, window_answers
from qa_lightning.decoding.spans import best_spans, null_logits, to_characters
from qa_lightning.decoding.temperatures import PLAIN_SOFTMAX, Temperatures
from qa_lightning.decoding.word_logits import word_logits
from qa_lightning.records import Batch, Prediction, Question
from qa_lightning.utils.host_copies import HostCopy


class Decoder:
    """Answers questions, each as soon as all of its windows were seen.

    Args:
        n_best_size: Number of answers kept for each question.
        max_answer_length: Most tokens of an answer.
        null_allowed: Whether a question may be left unanswered.
        null_score_diff_threshold: The margin by which null must lead to be predicted.
        temperatures: How scores become probabilities.
    """

    def __init__(
        self,
        n_best_size: int,
        max_answer_length: int,
        null_allowed: bool,
        null_score_diff_threshold: float,
        temperatures: Temperatures = PLAIN_SOFTMAX,
    ) -> None:
        self.n_best_size = n_best_size
        self.max_answer_length = max_answer_length
        self._collector = AnswerCollector(null_allowed, null_score_diff_threshold, temperatures)

    def answer(self, batch: Batch, start_logits: Tensor, end_logits: Tensor) -> list[Prediction]:
        """Predicts the answers to the questions whose last window is in this batch.

        Args:
            batch: Windows with offsets and questions; where it has words, answers are made of whole words.
            start_logits: Scores of each token as the first; floating point, ``[batch, length]``.
            end_logits: Scores of each token as the last; floating point, ``[batch, length]``.
        """
        return self.finish(self.begin(batch, start_logits, end_logits))

    def begin(self, batch: Batch, start_logits: Tensor, end_logits: Tensor) -> PendingAnswers:
        """Starts to answer a batch: finds its spans on the device, without waiting for the result.

        Args:
            batch: As in `answer`.
            start_logits: As in `answer`.
            end_logits: As in `answer`.
        """
        if not batch.questions:
            return PendingAnswers([], None)
        null = null_logits(start_logits, end_logits, batch.null_position)
        start_logits, end_logits, offsets = answer_logits(batch, start_logits, end_logits)
        spans = best_spans(start_logits, end_logits, batch.context_mask, self.n_best_size, self.max_answer_length)
        characters = to_characters(spans, offsets)
        windows = window_answers(*characters, spans.start_logits, spans.end_logits, *null)
        return PendingAnswers(batch.questions, HostCopy(windows))

    def finish(self, pending: PendingAnswers) -> list[Prediction]:
        """Returns the predictions for a batch that `begin` started; batches are finished in their order."""
        if pending.windows is None:
            return []
        return self._collector.add(pending.questions, to_answer_rows(pending.windows.wait()))


class PendingAnswers(NamedTuple):
    """A batch whose answers are being copied from the device.

    Attributes:
        questions: The question of each window.
        windows: What `window_answers` returned; None where there are no questions.
    """

    questions: Sequence[Question]
    windows: HostCopy | None


def answer_logits(batch: Batch, start_logits: Tensor, end_logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The logits and character spans that answers are made of: those of whole words where the batch has words.

    Args:
        batch: Windows with offsets.
        start_logits: Scores of each token as the first; floating point, ``[batch, length]``.
        end_logits: Scores of each token as the last; floating point, ``[batch, length]``.

    Returns:
        Start and end logits, ``[batch, length]``, and the characters that each token stands for, end exclusive; int64
        ``[batch, length, 2]``.
    """
    if batch.words is None:
        assert batch.offsets is not None
        return start_logits, end_logits, batch.offsets
    return *word_logits(start_logits, end_logits, batch.context_mask, batch.words), batch.words
