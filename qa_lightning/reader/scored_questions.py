"""Questions that a model has read, from whose logits answers are made."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch

from qa_lightning.decoding.answers import RankedSpans, rank_windows, to_answer_rows
from qa_lightning.decoding.decoder import Decoder
from qa_lightning.decoding.legacy import LegacyDecoder
from qa_lightning.decoding.token_probabilities import ScoredBatch, TokenProbabilities, token_probabilities
from qa_lightning.reader.distinct_answers import add_distinct_answers, distinct_spans
from qa_lightning.reader.formatting import format_answers
from qa_lightning.reader.inputs import Pair
from qa_lightning.reader.settings import Settings
from qa_lightning.records import AnswerDict, AnswerRows, Prediction


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

    def ranked_spans(self) -> RankedSpans:
        """Ranks the spans of each question, in their order, with scores that compare across questions."""
        ...

    def distinct_spans(self, rows: Collection[int]) -> dict[int, AnswerRows]:
        """Finds the best span of each of the ``top_k`` best texts of some of the questions; `ANSWER`, by row."""
        ...


class DocumentScorer(Protocol):
    """Reads the documents of questions, piece by piece, as often as it must.

    Attributes:
        passes: How often it is to be given all pairs of a question and a document.
    """

    @property
    def passes(self) -> int: ...  # noqa: D102 - see above

    def score(self, pairs: Sequence[Pair], questions: Sequence[int], number: int) -> ReadQuestions | None:
        """Reads pairs of a question and a document.

        Args:
            pairs: The pairs.
            questions: The number of the question of each.
            number: Which pass it is, from 0; one is over before the next begins.

        Returns:
            What it says of the pairs; None in all passes but the last.
        """
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

    def for_documents(self, settings: Settings, questions: int) -> DocumentScorer:
        """Makes what reads the documents of so many questions, whose answers are to be compared across documents."""
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
        decoder = self._decoder()
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

    @torch.inference_mode()
    def ranked_spans(self) -> RankedSpans:
        """Ranks the spans of each question, as `ReadQuestions` does: their scores are the sums of two logits."""
        decoder = self._decoder()
        pending = [decoder.begin(*batch) for batch in self.batches]
        windows = np.concatenate([to_answer_rows(each.windows.wait()) for each in pending if each.windows is not None])
        rows = np.array([question.row for each in pending for question in each.questions])
        null_allowed = self.settings.handle_impossible_answer
        return rank_windows(int(rows.max()) + 1, windows, rows, null_allowed=null_allowed)

    def distinct_spans(self, rows: Collection[int]) -> dict[int, AnswerRows]:
        """Finds spans of distinct texts, as `ReadQuestions` does."""
        return distinct_spans(rows, self.batches, self.settings)

    def _decoder(self) -> Decoder:
        settings = self.settings
        return Decoder(
            settings.n_best_size,
            settings.max_answer_len,
            settings.handle_impossible_answer,
            settings.null_score_diff_threshold,
            settings.temperatures,
        )


class OnePass:
    """Reads documents with one model, whose logits compare across documents as they are.

    Args:
        reader: What reads.
        settings: How the questions are to be answered.
    """

    passes = 1

    def __init__(self, reader: QuestionReader, settings: Settings) -> None:
        self._reader = reader
        self._settings = settings

    def score(self, pairs: Sequence[Pair], questions: Sequence[int], number: int) -> ReadQuestions:
        """Reads pairs, as a `DocumentScorer` does."""
        return self._reader.score(pairs, self._settings)
