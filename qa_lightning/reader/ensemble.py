"""Several models that answer together: the mean of the probabilities that they give to spans of characters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from qa_lightning.decoding.answers import answer_questions
from qa_lightning.decoding.distinct import fold_case
from qa_lightning.decoding.span_mixtures import (
    QuestionWindows,
    SpanProbabilities,
    best_rows,
    distinct_rows,
    mix,
    span_probabilities,
    token_mixture,
    windows_of_questions,
)
from qa_lightning.decoding.temperatures import PLAIN_SOFTMAX
from qa_lightning.decoding.token_probabilities import TokenProbabilities
from qa_lightning.pretrained.ensemble_file import normalized_weights
from qa_lightning.reader.distinct_answers import append_answers
from qa_lightning.reader.formatting import format_answers
from qa_lightning.reader.inputs import Pair
from qa_lightning.reader.settings import Settings
from qa_lightning.reader.window_scorer import WindowScorer
from qa_lightning.records import AnswerDict, AnswerRows, Prediction, Question
from qa_lightning.utils.errors import UserError

LENGTHS = ("max_seq_len", "doc_stride", "max_question_len", "max_answer_len")
"""Settings that count a model's own tokens."""


class OwnLength(int):
    """A length that members of an ensemble have different ones in the place of: each keeps its own; the longest."""


class Member(Protocol):
    """A model that answers with others, as a `Reader` of one model is."""

    @property
    def scorer(self) -> Any: ...  # noqa: D102 - what reads the questions

    @property
    def settings(self) -> Settings: ...  # noqa: D102 - how it answers when it is asked alone


class Ensemble:
    """Several models that answer together, with tokenizers and lengths of their own.

    Each model gives a probability to every span of the context, in characters, and to null, where that is allowed: the
    softmax of its scores over all windows of the question. Their weighted mean is what is answered from.

    Lengths are counted in the tokens of each model, and are its own unless a call asks for another one. Temperatures
    that members were calibrated to do not count: an ensemble has its own.

    Args:
        members: Readers of one model each.
        weights: How much each counts; default: all the same.

    Raises:
        UserError: Where there is no member, one is an ensemble itself, weights do not fit, or only some members may
            leave questions unanswered.

    Attributes:
        weights: How much each member counts; of sum 1.
        settings: How it answers unless it is asked otherwise: as the first, at the mean of the thresholds; of lengths
            in which members differ, the longest, as an `OwnLength`.
    """

    def __init__(self, members: Sequence[Member], weights: Sequence[float] | None = None) -> None:
        if not members:
            raise UserError("an ensemble has no member; name some")
        if weights is not None and len(weights) != len(members):
            raise UserError(f"an ensemble of {len(members)} models has {len(weights)} weights; give each model one")
        for number, member in enumerate(members, 1):
            if not isinstance(member.scorer, WindowScorer):
                raise UserError(f"member {number} of the ensemble is an ensemble itself; name its members")
            if member.settings.handle_impossible_answer != members[0].settings.handle_impossible_answer:
                raise UserError(
                    f"members 1 and {number} of the ensemble differ in handle_impossible_answer: either all of them "
                    "may leave questions unanswered, or none"
                )
        self.weights = normalized_weights([1.0] * len(members) if weights is None else weights, "the ensemble")
        self._members = [(member.scorer, member.settings) for member in members]
        threshold = float(np.dot(self.weights, self.thresholds))
        lengths: dict[str, Any] = {name: self._length(name) for name in LENGTHS}
        # What members were calibrated to is nothing that their mean is calibrated to.
        plain = vars(PLAIN_SOFTMAX)
        self.settings = replace(self._members[0][1], null_score_diff_threshold=threshold, **lengths, **plain)

    @property
    def block_characters(self) -> int:
        """About how many characters are read together."""
        return min(scorer.block_characters for scorer, _ in self._members)

    @property
    def scorers(self) -> list[WindowScorer]:
        """What reads the questions, in the order of the members."""
        return [scorer for scorer, _ in self._members]

    @property
    def thresholds(self) -> list[float]:
        """By how much null leads where each member predicts it, in the order of the members."""
        return [settings.null_score_diff_threshold for _, settings in self._members]

    def check(self, settings: Settings) -> None:
        """Checks that questions can be answered so.

        Raises:
            UserError: Where one of the members cannot.
        """
        if settings.legacy:
            raise UserError(
                "legacy=True answers as transformers' former pipeline, which knew no ensembles; leave it out"
            )
        for scorer, own in self._members:
            scorer.check(self._settings_of(own, settings))

    def score(self, pairs: Sequence[Pair], settings: Settings) -> EnsembleScores:
        """Lets every member read the questions.

        Args:
            pairs: The questions with their contexts.
            settings: How they are to be answered.
        """
        return EnsembleScores(self.read(pairs, settings), self.weights, settings)

    def read(self, pairs: Sequence[Pair], settings: Settings) -> list[MemberScores]:
        """Lets every member read the questions, and keeps what each says by itself."""
        found = []
        for scorer, own in self._members:
            of_member = self._settings_of(own, settings)
            with torch.inference_mode():
                questions = windows_of_questions(scorer.score(pairs, of_member).batches)
            found.append(MemberScores(questions, of_member))
        return found

    def _length(self, name: str) -> int | None:
        values = [getattr(settings, name) for _, settings in self._members]
        return values[0] if len({*values}) == 1 else OwnLength(max(value for value in values if value is not None))

    def _settings_of(self, own: Settings, settings: Settings) -> Settings:
        """How a member is to answer: as asked, with its own lengths where no others are asked for."""
        kept = {name: getattr(own, name) for name in LENGTHS if isinstance(getattr(settings, name), OwnLength)}
        return replace(settings, **kept)


class MemberScores(NamedTuple):
    """What a member says of some questions.

    Attributes:
        questions: The questions with the scores of its windows, by row.
        settings: How it answers.
    """

    questions: dict[int, QuestionWindows]
    settings: Settings

    def probabilities(self, row: int) -> SpanProbabilities:
        """Those of the spans of a question."""
        settings = self.settings
        return span_probabilities(
            self.questions[row].windows,
            max_answer_length=settings.max_answer_len,
            null_allowed=settings.handle_impossible_answer,
        )


class EnsembleScores:
    """Questions that every member of an ensemble has read.

    Args:
        members: What each says.
        weights: How much each counts; of sum 1.
        settings: How the questions are to be answered.
    """

    def __init__(self, members: list[MemberScores], weights: Sequence[float], settings: Settings) -> None:
        self._members = members
        self._weights = weights
        self._settings = settings
        self._rows = sorted(members[0].questions)

    def mixtures(self) -> Iterator[tuple[Question, SpanProbabilities]]:
        """The questions in their order, and what the members say together; one at a time, as it takes memory."""
        for row in self._rows:
            members = [member.probabilities(row) for member in self._members]
            yield self._members[0].questions[row].question, mix(members, self._weights)

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
