"""Weights of an ensemble's members that are fitted to questions, and an honest figure of what they gain."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qa_lightning.decoding.span_mixtures import SpanProbabilities, aligned
from qa_lightning.ensembling.scores import AskedQuestions
from qa_lightning.reader.ensemble import Ensemble
from qa_lightning.reader.inputs import read_pairs, split_into_blocks
from qa_lightning.scoring.squad import Scorer
from qa_lightning.utils.arrays import BoolArray, FloatArray, Int64Array
from qa_lightning.utils.errors import UserError

FOLDS = 5

_LIKELY = 20
"""How many of each member's best spans all others are compared with."""

_STEPS = np.arange(1, 21) / 20
"""How much weight may be moved from one member to another at a time."""

_GAIN = 1e-9


@dataclass(frozen=True)
class Candidates:
    """For each question, the spans that some weights may choose, with what each member says of them.

    Attributes:
        probabilities: Of each span by each member, 0 behind the last one; ``[members, questions, spans]``.
        nulls: Of null, 0 where there must be an answer; ``[members, questions]``.
        f1: What each span is worth, 0 to 1; ``[questions, spans]``.
        null_f1: What it is worth to say nothing; ``[questions]``.
        contexts: The number of each question's context; ``[questions]``.
        thresholds: By how much null must lead with each member; ``[members]``.
    """

    probabilities: FloatArray
    nulls: FloatArray
    f1: FloatArray
    null_f1: FloatArray
    contexts: Int64Array
    thresholds: FloatArray

    def scores(self, weights: FloatArray, rows: BoolArray | slice = slice(None)) -> FloatArray:
        """Computes F1 of the answers to some questions, 0 to 1; ``[questions]``.

        Args:
            weights: How much each member counts; ``[members]``.
            rows: Which questions.
        """
        mixed = np.tensordot(weights, self.probabilities[:, rows], 1)
        best = mixed.argmax(axis=1)
        place = np.arange(len(best))
        with np.errstate(divide="ignore", invalid="ignore"):
            odds = np.log(weights @ self.nulls[:, rows]) - np.log(mixed[place, best])
        says_null = (mixed[place, best] == 0) | (odds > weights @ self.thresholds)
        return np.where(says_null, self.null_f1[rows], self.f1[rows][place, best])


@dataclass(frozen=True)
class FittedWeights:
    """Weights, and how good ensembles are with and without them; F1 in per cent.

    Attributes:
        weights: Those that all questions are answered best with.
        f1_of_members: Of each member alone.
        f1_of_equal: Of all members with the same weight.
        f1: Of each question answered with weights that were fitted without it, or any other on its context.
    """

    weights: list[float]
    f1_of_members: list[float]
    f1_of_equal: float
    f1: float


def fit_weights(ensemble: Ensemble, asked: AskedQuestions) -> FittedWeights:
    """Fits the weights of an ensemble's members to questions, by F1.

    Args:
        ensemble: The ensemble, whose own weights do not matter.
        asked: The questions.

    Raises:
        UserError: Where all questions are on one context, so that none is left to score the weights on.
    """
    found = collect_candidates(ensemble, asked)
    members = len(ensemble.weights)
    equal = np.full(members, 1 / members)
    return FittedWeights(
        best_weights(found).tolist(),
        [_percent(found.scores(weights)) for weights in np.eye(members)],
        _percent(found.scores(equal)),
        _percent(nested_scores(found, asked.source)),
    )


def nested_scores(candidates: Candidates, source: str = "the data") -> FloatArray:
    """F1 of each question by weights that were fitted to the questions on other contexts; 0 to 1, ``[questions]``.

    Args:
        candidates: The questions.
        source: Where they are from, for messages.

    Raises:
        UserError: Where all are on one context.
    """
    count = int(candidates.contexts.max(initial=-1)) + 1
    if count < 2:
        raise UserError(
            f"{source}: all questions are on one context; weights are fitted to some contexts and scored on others, so "
            "give questions on two or more"
        )
    fold_of_context = np.random.default_rng(0).permutation(count) % min(FOLDS, count)
    fold = fold_of_context[candidates.contexts]
    scores = np.zeros(len(fold))
    for number in np.unique(fold):
        held_out = fold == number
        scores[held_out] = candidates.scores(best_weights(candidates, ~held_out), held_out)
    return scores


def best_weights(candidates: Candidates, rows: BoolArray | slice = slice(None)) -> FloatArray:
    """Searches the weights by which some questions are answered best.

    From equal weights, and from each member alone, weight is moved between two members as long as that gains, by any
    number of twentieths; of what is equally good, the former comes first. The best there is is found for two members,
    and a good one for more.

    Args:
        candidates: The questions.
        rows: Which of them.

    Returns:
        Of sum 1; ``[members]``.
    """

    def worth(weights: FloatArray) -> float:
        return float(candidates.scores(weights, rows).mean())

    members = len(candidates.probabilities)
    best, reached = _climb(np.full(members, 1 / members), worth)
    for alone in np.eye(members):
        weights, value = _climb(alone, worth)
        if value > reached + _GAIN:
            best, reached = weights, value
    return best


def _climb(weights: FloatArray, worth: Callable[[FloatArray], float]) -> tuple[FloatArray, float]:
    """Makes the move of weight between two members that gains most, as long as one gains; returns what is reached."""
    reached = worth(weights)
    while True:
        moves = list(_moves(weights))
        values = [worth(move) for move in moves]
        best = int(np.argmax(values)) if values else 0
        if not values or values[best] <= reached + _GAIN:
            return weights, reached
        weights, reached = moves[best], values[best]


def _moves(weights: FloatArray) -> Iterator[FloatArray]:
    """Weights after a move from one member to another, the smallest moves first."""
    for step in _STEPS:
        for giver, taker in itertools.permutations(range(len(weights)), 2):
            if weights[giver] >= step - _GAIN:
                moved = weights.copy()
                moved[giver] = max(0.0, moved[giver] - step)
                moved[taker] += step
                yield moved / moved.sum()


def collect_candidates(ensemble: Ensemble, asked: AskedQuestions) -> Candidates:
    """Asks the members all questions, and keeps what weights choose between.

    Args:
        ensemble: The ensemble.
        asked: The questions.
    """
    settings = ensemble.settings
    score = asked.scorer(null_allowed=settings.handle_impossible_answer)
    pairs, _ = read_pairs(asked.records, None, None)
    found: list[tuple[FloatArray, FloatArray, FloatArray]] = []
    golds = iter(asked.golds)
    for block in split_into_blocks(pairs, ensemble.block_characters):
        members = ensemble.read(block, settings)
        for row, (pair, wanted) in enumerate(zip(block, golds, strict=False)):
            said = [member.probabilities(row) for member in members]
            found.append(_candidates(said, pair.context, wanted, score))
    numbers: dict[str, int] = {}
    contexts = np.array([numbers.setdefault(record["context"], len(numbers)) for record in asked.records])
    width = max(1, *(len(f1) for _, _, f1 in found))
    return Candidates(
        np.stack([_padded(probabilities, width) for probabilities, _, _ in found], axis=1),
        np.stack([nulls for _, nulls, _ in found], axis=1),
        np.stack([_padded(f1, width) for _, _, f1 in found]),
        np.array([score("", wanted)[1] for wanted in asked.golds]),
        contexts,
        np.array(ensemble.thresholds),
    )


def _candidates(
    said: Sequence[SpanProbabilities], context: str, golds: Sequence[str], score: Scorer
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The probabilities, ``[members, spans]``, of null, ``[members]``, and F1, ``[spans]``, of a question's spans."""
    spans, logs, nulls = aligned(said)
    kept = undominated(logs)
    f1 = [score(context[start:end], golds)[1] for start, end in spans[kept].tolist()]
    return np.exp(logs[:, kept]), np.exp(nulls), np.array(f1, dtype=np.float64)


def undominated(logs: FloatArray) -> NDArray[np.intp]:
    """The spans that some weights may prefer to all others: none is as likely with every member and likelier with one.

    Of spans that are alike with every member, the first is kept.

    Args:
        logs: What members say of each span; ``[members, spans]``.

    Returns:
        Their indices, in order.
    """
    likely = np.unique(np.argsort(-logs, axis=1, kind="stable")[:, :_LIKELY])
    left = np.flatnonzero(~_are_dominated(logs, np.arange(logs.shape[1]), likely))
    return left[~_are_dominated(logs, left, left)]


def _are_dominated(logs: FloatArray, spans: NDArray[np.intp], by: NDArray[np.intp]) -> BoolArray:
    """Which of some spans are dominated by any of others; ``[spans]``."""
    dominated = np.zeros(len(spans), dtype=np.bool_)
    for other in by:
        there, here = logs[:, other, None], logs[:, spans]
        before = (there > here).any(axis=0) | (other < spans)
        dominated |= (there >= here).all(axis=0) & before
    return dominated


def _padded(values: FloatArray, width: int) -> FloatArray:
    """Fills up the last dimension with zeros."""
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, width - values.shape[-1])])


def _percent(scores: FloatArray) -> float:
    return 100 * float(scores.mean())
