"""Fits temperatures to questions by likelihood, and says honestly what they gain."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qa_lightning.decoding.temperatures import PLAIN_SOFTMAX, Temperatures
from qa_lightning.runs.calibration import AnsweredQuestions
from qa_lightning.scoring.calibration import calibration_figures, resampled_figures
from qa_lightning.scoring.intervals import percentile_interval
from qa_lightning.utils.arrays import BoolArray, FloatArray
from qa_lightning.utils.errors import UserError

FOLDS = 5

COLDEST, HOTTEST = 0.01, 100.0
"""The ends of where temperatures are looked for."""

_MOST_ODDS = 1e4
_GRID = 81
_FAR = 30.0
"""Beyond this, a logistic function is 0 or 1 for as many questions as there can be."""


@dataclass(frozen=True)
class Change:
    """A figure before and after calibration, with the 95 % intervals of both and of their difference."""

    before: float
    after: float
    before_interval: tuple[float, float]
    after_interval: tuple[float, float]
    difference_interval: tuple[float, float]


def fit_temperatures(answered: AnsweredQuestions) -> Temperatures:
    """Fits the temperatures with which what was right is likeliest.

    The probability that the best span is right, given that there is an answer, has one parameter, the temperature of
    the softmax over spans; it is fitted to the answerable questions, each of them right or wrong. The probability that
    there is no answer has two, the temperature of the log-odds of null and their bias (Platt, 1999); they are fitted to
    all questions, each of them answerable or not. The score of a span is the product of the first and of what the
    second leaves, so that the two likelihoods have no parameter in common.

    Right and wrong count as Platt's targets, (right + 1) / (right + 2) and 1 / (wrong + 2), with which few questions
    make no certainty.

    Args:
        answered: The questions.

    Returns:
        Those of null are the plain ones where null was not allowed, or all questions are of one kind.
    """
    spans = answered.take(answered.answerable) if answered.null_allowed else answered
    temperature = fit_temperature(spans.spans, spans.span_right)
    kinds = {*answered.answerable.tolist()}
    if not answered.null_allowed or len(kinds) < 2:
        return Temperatures(temperature)
    return Temperatures(temperature, *fit_null(answered.log_odds(), ~answered.answerable))


def fit_temperature(spans: FloatArray, right: BoolArray) -> float:
    """Fits the temperature of the softmax over spans.

    Args:
        spans: Scores, the best first, minus infinity behind the last; ``[questions, n]``.
        right: Whether the best one is right; ``[questions]``.

    Returns:
        From `COLDEST` to `HOTTEST`; 1 where no question has two spans.
    """
    several = np.isfinite(spans[:, :2]).sum(axis=1) == 2  # of a single span, the probability is always 1
    spans, right = spans[several], right[several]
    if not len(right):
        return PLAIN_SOFTMAX.temperature
    return _best_temperature(SpanLoss(spans, right))


class SpanLoss:
    """The mean negative log-likelihood of right and wrong best spans, at a temperature.

    Args:
        spans: Scores of at least two spans of each question, the best first; ``[questions, n]``.
        right: Whether the best one is right; ``[questions]``.
    """

    def __init__(self, spans: FloatArray, right: BoolArray) -> None:
        self._gaps = spans[:, 1:] - spans[:, :1]
        self._targets = platt_targets(right)

    def __call__(self, temperature: float) -> float:
        """The loss at a temperature."""
        scaled = self._gaps / temperature
        # The others together, beside the best one, whose score is 0.
        others = scaled[:, 0] + np.log(np.exp(scaled - scaled[:, :1]).sum(axis=1))
        return _log_loss(others, self._targets)


def fit_null(log_odds: FloatArray, unanswerable: BoolArray) -> tuple[float, float]:
    """Fits the temperature and the bias of the log-odds of null.

    Args:
        log_odds: The model's; ``[questions]``.
        unanswerable: Whether there is no answer, of both kinds; ``[questions]``.

    Returns:
        The temperature, from `COLDEST` to `HOTTEST`, and the bias.
    """
    from scipy.optimize import brentq

    known = log_odds != np.inf  # of a question without a span, null is certain
    odds, targets = log_odds[known].clip(-_MOST_ODDS, _MOST_ODDS), platt_targets(unanswerable)[known]
    mean = float(targets.mean())

    def likeliest_intercept(temperature: float) -> float:
        """That with which the mean probability is the mean target, where the derivative of the loss is 0."""
        scaled = odds / temperature
        reach = float(np.abs(scaled).max()) + _FAR
        return brentq(lambda shift: float(_logistic(scaled + shift).mean()) - mean, -reach, reach)

    def loss(temperature: float) -> float:
        return _log_loss(-(odds / temperature + likeliest_intercept(temperature)), targets)

    temperature = _best_temperature(loss)
    return temperature, -temperature * likeliest_intercept(temperature)


def _best_temperature(loss: Callable[[float], float]) -> float:
    """Searches the temperature with the least loss: on a grid, and then around the best of it."""
    from scipy.optimize import minimize_scalar

    grid = np.linspace(math.log(COLDEST), math.log(HOTTEST), _GRID)
    best = int(np.argmin([loss(math.exp(place)) for place in grid]))
    around = grid[max(0, best - 1)], grid[min(best + 1, _GRID - 1)]
    found = minimize_scalar(
        lambda place: loss(math.exp(place)), bounds=around, method="bounded", options={"xatol": 1e-6}
    )
    candidates = [math.exp(found.x), math.exp(grid[best]), PLAIN_SOFTMAX.temperature]
    return min(max(min(candidates, key=loss), COLDEST), HOTTEST)


def _logistic(values: FloatArray) -> FloatArray:
    return 1 / (1 + np.exp(-values.clip(-700, 700)))


def platt_targets(right: BoolArray) -> FloatArray:
    """What each answer counts as: about 1 where it is right, and about 0 where it is wrong; ``[answers]``.

    As Platt, "Probabilistic outputs for support vector machines" (1999): as if there were one more of each kind.
    """
    count = int(right.sum())
    return np.where(right, (count + 1) / (count + 2), 1 / (len(right) - count + 2))


def cross_fitted_confidence(answered: AnsweredQuestions, source: str = "the data") -> FloatArray:
    """The confidence of each answer by temperatures that were fitted to questions on other contexts; ``[questions]``.

    Args:
        answered: The questions.
        source: Where they are from, for messages.

    Raises:
        UserError: Where all are on one context.
    """
    numbers, paragraph = np.unique(answered.paragraphs, return_inverse=True)
    if len(numbers) < 2:
        raise UserError(
            f"{source}: all questions are on one context; what is fitted to some contexts is measured on others, so "
            "give questions on two or more"
        )
    fold = (np.random.default_rng(0).permutation(len(numbers)) % min(FOLDS, len(numbers)))[paragraph]
    confidence = np.zeros(len(answered))
    for number in np.unique(fold):
        held_out = fold == number
        fitted = fit_temperatures(answered.take(~held_out))
        confidence[held_out] = answered.take(held_out).confidence(fitted)
    return confidence


def changes(answered: AnsweredQuestions, before: FloatArray, after: FloatArray) -> dict[str, Change]:
    """Computes each figure of `scoring.calibration.FIGURES` with one confidence of the answers and with another.

    Args:
        answered: The questions.
        before: The confidence of each answer; ``[questions]``.
        after: Another one; ``[questions]``.
    """
    points = [calibration_figures(confidence, answered.right) for confidence in (before, after)]
    drawn = [resampled_figures(confidence, answered.right, answered.paragraphs) for confidence in (before, after)]
    return {
        name: Change(
            points[0][name],
            points[1][name],
            percentile_interval(drawn[0][name]),
            percentile_interval(drawn[1][name]),
            percentile_interval(drawn[1][name] - drawn[0][name]),
        )
        for name in points[0]
    }


def _log_loss(against: FloatArray, targets: FloatArray) -> float:
    """The mean cross-entropy of targets and the logistic function of ``-against``."""
    return float((targets * np.logaddexp(0, against) + (1 - targets) * np.logaddexp(0, -against)).mean())
