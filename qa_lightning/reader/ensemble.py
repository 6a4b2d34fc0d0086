"""Several models that answer together: the mean of the probabilities that they give to spans of characters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch

from qa_lightning.decoding.span_mixtures import windows_of_questions
from qa_lightning.decoding.temperatures import PLAIN_SOFTMAX
from qa_lightning.pretrained.ensemble_file import normalized_weights
from qa_lightning.reader.ensemble_documents import EnsembleDocuments
from qa_lightning.reader.ensemble_scores import EnsembleScores, MemberScores
from qa_lightning.reader.inputs import Pair
from qa_lightning.reader.settings import Settings
from qa_lightning.reader.window_scorer import WindowScorer
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

    def for_documents(self, settings: Settings, questions: int) -> EnsembleDocuments:
        """Makes what reads the documents of questions; see `DocumentScorer`."""
        return EnsembleDocuments(self.read, self.weights, settings, questions)

    def _length(self, name: str) -> int | None:
        values = [getattr(settings, name) for _, settings in self._members]
        return values[0] if len({*values}) == 1 else OwnLength(max(value for value in values if value is not None))

    def _settings_of(self, own: Settings, settings: Settings) -> Settings:
        """How a member is to answer: as asked, with its own lengths where no others are asked for."""
        kept = {name: getattr(own, name) for name in LENGTHS if isinstance(getattr(settings, name), OwnLength)}
        return replace(settings, **kept)
