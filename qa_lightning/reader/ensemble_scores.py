"""What the members of an ensemble say of questions, each by itself and all together."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from qa_lightning.decoding.answers import RankedSpans, answer_questions, rank_windows
from qa_lightning.decoding.distinct import fold_case
from qa_lightning.decoding.span_mixtures import (
    LogTotal,
    QuestionWindows,
    SpanProbabilities,
    best_rows,
    distinct_rows,
    mix,
    span_scores,
    token_mixture,
)
from qa_lightning.decoding.token_probabilities import TokenProbabilities
from qa_lightning.reader.distinct_answers import append_answers
from qa_lightning.reader.formatting import format_answers
from qa_lightning.reader.settings import Settings
from qa_lightning.records import AnswerDict, AnswerRows, Prediction, Question


class MemberScores(NamedTuple):
    """What a member says of some questions.

    Attributes:
        questions: The questions with the scores of its windows, by row.
        settings: How it answers.
    """

    questions: dict[int, QuestionWindows]
    settings: Settings

    def scores(self, row: int) -> SpanProbabilities:
        """The scores of the spans of a question, which are logarithms of probabilities but for a constant."""
        settings = self.settings
        return span_scores(
            self.questions[row].windows,
            max_answer_length=settings.max_answer_len,
            null_allowed=settings.handle_impossible_answer,
        )

    def probabilities(self, row: int, total: LogTotal | None = None) -> SpanProbabilities:
        """Those of the spans of a question.

        Args:
            row: The question's.
            total: Of all spans that are compared; default: of the question's own.
        """
        scores = self.scores(row)
        return (total or LogTotal.of(scores)).normalize(scores)


class EnsembleScores:
    """Questions that every member of an ensemble has read.

    Args:
        members: What each says.
        weights: How much each counts; of sum 1.
        settings: How the questions are to be answered.
        totals: Of all spans that a question is answered from, by its row, one of each member; default: of its own.
    """

    def __init__(
        self,
        members: list[MemberScores],
        weights: Sequence[float],
        settings: Settings,
        totals: Sequence[Sequence[LogTotal]] | None = None,
    ) -> None:
        self._members = members
        self._weights = weights
        self._settings = settings
        self._totals = totals
        self._rows = sorted(members[0].questions)

    def mixtures(self) -> Iterator[tuple[Question, SpanProbabilities]]:
        """The questions in their order, and what the members say together; one at a time, as it takes memory."""
        for row in self._rows:
            yield self._members[0].questions[row].question, self._mixture(row)

    def _mixture(self, row: int) -> SpanProbabilities:
        totals = [None] * len(self._members) if self._totals is None else self._totals[row]
        members = [member.probabilities(row, total) for member, total in zip(self._members, totals, strict=True)]
        return mix(members, self._weights)

    def predictions(self) -> list[Prediction]:
        """Predicts, in the order of the questions, with all ``n_best_size`` answers and the null odds."""
        questions, rows, _ = self._best(0)
        return self._predict(questions, rows)

    def answers(self, predictions: list[Prediction] | None = None) -> list[list[AnswerDict]]:
        """Lists the best ``top_k`` answers to each question, in order, from its prediction where that is known."""
        settings = self._settings
        questions, rows, more = self._best(settings.top_k if settings.top_k > 1 else 0)
        found = []
        for i, prediction in enumerate(predictions or self._predict(questions, rows)):
            listed = format_answers(prediction, settings.top_k, settings.n_best_size)
            if len(listed) < settings.top_k and len(prediction.answers) >= settings.n_best_size and len(more):
                longer = append_answers(prediction, more[i], settings.temperatures)
                listed = format_answers(longer, settings.top_k, settings.n_best_size)
            found.append(listed)
        return found

    def tokens(self) -> TokenProbabilities:
        """Computes how likely the only question's answer begins, and ends, with each token of the first member.

        Unlike those of one model, which are two by two, these are sums over all spans that begin, or end, there.
        """
        (_, mixture), *_ = self.mixtures()
        windows = self._members[0].questions[self._rows[0]].windows
        known = [window.offsets[window.starts != -np.inf] for window in windows]
        tokens = np.unique(np.concatenate(known), axis=0).astype(np.int64)
        if not len(tokens):
            return TokenProbabilities(tokens, np.zeros(0), np.zeros(0))
        return TokenProbabilities(tokens, *token_mixture(mixture, tokens))

    def ranked_spans(self) -> RankedSpans:
        """Ranks the spans of each question, as `ReadQuestions` does: their scores are logarithms of probabilities."""
        _, rows, _ = self._best(0)
        null_allowed = self._settings.handle_impossible_answer
        return rank_windows(len(rows), np.stack(rows), np.arange(len(rows)), null_allowed=null_allowed)

    def distinct_spans(self, rows: Collection[int]) -> dict[int, AnswerRows]:
        """Finds spans of distinct texts, as `ReadQuestions` does."""
        contexts = {row: self._members[0].questions[row].question.context for row in rows}
        return {
            row: distinct_rows(self._mixture(row), self._settings.top_k, fold_case(context))
            for row, context in contexts.items()
        }

    def _best(self, texts: int) -> tuple[list[Question], list[AnswerRows], list[AnswerRows]]:
        """The questions, the best spans of each, and where some are asked for, those of so many distinct texts."""
        questions, rows, more = [], [], []
        for question, mixture in self.mixtures():
            questions.append(question)
            rows.append(best_rows(mixture, self._settings.n_best_size))
            if texts:
                more.append(distinct_rows(mixture, texts, fold_case(question.context)))
        return questions, rows, more

    def _predict(self, questions: Sequence[Question], rows: Sequence[AnswerRows]) -> list[Prediction]:
        return answer_questions(
            questions,
            np.stack(rows),
            np.arange(len(questions)),
            null_allowed=self._settings.handle_impossible_answer,
            null_score_diff_threshold=self._settings.null_score_diff_threshold,
            temperatures=self._settings.temperatures,
        )
