"""From the logits of batches to predictions."""

from __future__ import annotations

from torch import Tensor

from qa_lightning.decoding.answers import AnswerCollector
from qa_lightning.decoding.spans import best_spans, null_logits, to_characters
from qa_lightning.decoding.words import of_words
from qa_lightning.records import Batch, Prediction


class Decoder:
    """Answers questions, each as soon as all of its windows were seen.

    Args:
        n_best_size: Answers that are kept of each question.
        max_answer_length: Tokens of an answer at most.
        null_allowed: Whether a question may be left unanswered.
        null_score_diff_threshold: By how much null must lead to be predicted.
    """

    def __init__(
        self, n_best_size: int, max_answer_length: int, null_allowed: bool, null_score_diff_threshold: float
    ) -> None:
        self.n_best_size = n_best_size
        self.max_answer_length = max_answer_length
        self._collector = AnswerCollector(null_allowed, null_score_diff_threshold)

    def answer(self, batch: Batch, start_logits: Tensor, end_logits: Tensor) -> list[Prediction]:
        """The predictions of the questions whose last window is in this batch.

        Args:
            batch: Windows with offsets and questions; where it tells words, answers are made of whole words.
            start_logits: Scores of each token as the first; floating point, ``[batch, length]``.
            end_logits: Scores of each token as the last; floating point, ``[batch, length]``.
        """
        if not batch.questions:
            return []
        assert batch.offsets is not None
        null = null_logits(start_logits, end_logits, batch.null_position)
        offsets = batch.offsets
        if batch.words is not None:
            offsets = batch.words
            start_logits, end_logits = of_words(start_logits, end_logits, batch.context_mask, offsets)
        spans = best_spans(start_logits, end_logits, batch.context_mask, self.n_best_size, self.max_answer_length)
        return self._collector.add(
            batch.questions, *to_characters(spans, offsets), spans.start_logits, spans.end_logits, *null
        )
