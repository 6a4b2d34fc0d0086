"""Several models that answer together from many documents, which they read twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qa_lightning.decoding.span_mixtures import LogTotal
from qa_lightning.reader.ensemble_scores import EnsembleScores, MemberScores
from qa_lightning.reader.inputs import Pair
from qa_lightning.reader.settings import Settings


class EnsembleDocuments:
    """Reads documents with several models, whose probabilities of spans are averaged.

    The probabilities of a model are a softmax over the spans of all documents, whose total is known when all have been
    read. What spans have on average is known in a second pass.

    Args:
        read: Lets every model read pairs.
        weights: How much each counts; of sum 1.
        settings: How the questions are to be answered.
        questions: How many there are.
    """

    passes = 2

    def __init__(
        self,
        read: Callable[[Sequence[Pair], Settings], list[MemberScores]],
        weights: Sequence[float],
        settings: Settings,
        questions: int,
    ) -> None:
        self._read = read
        self._weights = weights
        self._settings = settings
        self._totals = [[LogTotal() for _ in weights] for _ in range(questions)]

    def score(self, pairs: Sequence[Pair], questions: Sequence[int], number: int) -> EnsembleScores | None:
        """Reads pairs, as a `DocumentScorer` does."""
        members = self._read(pairs, self._settings)
        totals = [self._totals[question] for question in questions]
        if number:
            return EnsembleScores(members, self._weights, self._settings, totals)
        for row, of_question in enumerate(totals):
            for member, total in zip(members, of_question, strict=True):
                total.add(member.scores(row))
        return None
