"""Questions that a model has read, from whose logits answers are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch

from qa_lightning.decoding.decoder import Decoder
from qa_lightning.decoding.legacy import LegacyDecoder
from qa_lightning.decoding.token_probabilities import ScoredBatch, TokenProbabilities, token_probabilities
from qa_lightning.reader.distinct_answers import add_distinct_answers
from qa_lightning.reader.formatting import format_answers
from qa_lightning.reader.inputs import Pair
from qa_lightning.reader.settings import Settings
from qa_lightning.records import AnswerDict, Prediction


class ReadQuestions(Protocol):
    """Questions that were read, and can be answered."""

    def predictions(self) -> list[Prediction]:
        """Predicts, in the order of the questions, with all ``n_best_size`` answers and the null odds."""
        ...

    def answers(self, predictions: list[Prediction] | None = None) -> list[list[AnswerDict]]:
        """Lists the best ``top_k`` answers to each question, in order, from its prediction where that is known."""
        ...

    def tokens(self) -> TokenProbabilities:
        """Computes the probabilities of the tokens of the only question's context."""
        ...


class QuestionReader(Protocol):
    """Reads questions: one model, or several.

    Attributes:
        block_characters: About how many characters it reads together.
    """

    @property
    def block_characters(self) -> int: ...  # noqa: D102 - see above

    def check(self, settings: Settings) -> None:
        """Checks that questions can be answered so.

        Raises:
            UserError: Where they cannot.
        """
        ...

    def score(self, pairs: Sequence[Pair], settings: Settings) -> ReadQuestions:
        """Reads questions with their contexts, at least one."""
        ...


class ScoredQuestions(NamedTuple):
    """The logits of all windows of some questions.

    Attributes:
        batches: The windows.
        settings: How the questions are to be answered.
    """

    batches: list[ScoredBatch]
    settings: Settings

    @torch.inference_mode()
    def predictions(self) -> list[Prediction]:
        """Predicts, as `ReadQuestions` does."""
        settings = self.settings
        decoder = Decoder(
            settings.n_best_size,
            settings.max_answer_len,
            settings.handle_impossible_answer,
            settings.null_score_diff_threshold,
            settings.temperatures,
        )
        pending = [decoder.begin(*batch) for batch in self.batches]
        found = [prediction for answers in pending for prediction in decoder.finish(answers)]
        return sorted(found, key=lambda prediction: prediction.question.row)

    def answers(self, predictions: list[Prediction] | None = None) -> list[list[AnswerDict]]:
        """Lists the best answers, as `ReadQuestions` does."""
        settings = self.settings
        if settings.legacy:
            legacy = LegacyDecoder(settings.top_k, settings.max_answer_len, settings.handle_impossible_answer)
            answered = [prediction for batch in self.batches for prediction in legacy.answer(*batch)]
            return [
                prediction.answers for prediction in sorted(answered, key=lambda prediction: prediction.question.row)
            ]
        if predictions is None:
            predictions = self.predictions()
        answers = [format_answers(prediction, settings.top_k, settings.n_best_size) for prediction in predictions]
        few = [
            prediction
            for prediction, found in zip(predictions, answers, strict=True)
            if len(found) < settings.top_k and len(prediction.answers) >= settings.n_best_size
        ]
        for row, more in add_distinct_answers(few, self.batches, settings).items() if few else ():
            answers[row] = format_answers(more, settings.top_k, settings.n_best_size)
        return answers

    def tokens(self) -> TokenProbabilities:
        """Computes the probabilities of tokens, as `ReadQuestions` does."""
        return token_probabilities(self.batches, null_allowed=self.settings.handle_impossible_answer)
