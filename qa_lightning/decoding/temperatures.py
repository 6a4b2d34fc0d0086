"""Probabilities of answers from their scores, at the temperatures that a model was calibrated to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from qa_lightning.utils.arrays import BoolArray, FloatArray
from qa_lightning.utils.errors import UserError

_LOWEST = np.finfo(np.float64).min


@dataclass(frozen=True)
class Temperatures:
    """How scores become probabilities; as it is made without arguments, by a plain softmax.

    Attributes:
        temperature: What the scores of spans are divided by before their softmax (Guo et al., 2017); above 0.
        null_temperature: What the log-odds of null are divided by; above 0.
        null_bias: What is taken from them before.
    """

    temperature: float = 1.0
    null_temperature: float = 1.0
    null_bias: float = 0.0

    def __post_init__(self) -> None:
        for name in ("temperature", "null_temperature"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise UserError(f"{name} must be above 0, not {value}")


PLAIN_SOFTMAX = Temperatures()


def answer_probabilities(
    scores: FloatArray, is_null: BoolArray, temperatures: Temperatures = PLAIN_SOFTMAX
) -> FloatArray:
    """Computes the probability of each answer to some questions.

    Null has the logistic function of its log-odds, (score of null − log Σ exp(score of a span) − null_bias) /
    null_temperature; spans share the rest by the softmax of their scores / temperature. With both temperatures 1 and no
    bias, that is the softmax over all answers.

    Spans keep their order, and questions theirs by the probability of null, whatever the temperatures are. A number
    that is added to all scores of a question changes nothing.

    Args:
        scores: Of each answer, start plus end logit; minus infinity in padding; ``[questions, answers]``.
        is_null: Which of them are null, at most one of each question; ``[questions, answers]``.
        temperatures: The temperatures.

    Returns:
        ``[questions, answers]``, of sum 1 in each row; zeros in a row that holds nothing but padding.
    """
    if temperatures == PLAIN_SOFTMAX:
        return _softmax(scores)
    spans = np.where(is_null, -np.inf, scores)
    probabilities = _softmax(_divided(spans, temperatures.temperature))
    has_null = (is_null & (scores != -np.inf)).any(axis=1)
    null = np.where(is_null, scores, -np.inf).max(axis=1, initial=-np.inf)
    of_null = np.where(has_null, null_probabilities(null_log_odds(null, spans), temperatures), 0.0)
    return np.where(is_null, of_null[:, None], probabilities * (1 - of_null)[:, None])


def null_log_odds(null: FloatArray, spans: FloatArray) -> FloatArray:
    """Computes how much likelier null is than all spans together, by the softmax, as a logarithm; ``[questions]``.

    Args:
        null: The scores of null; ``[questions]``.
        spans: Those of spans, minus infinity in padding; ``[questions, spans]``.

    Returns:
        Infinite where there is no span, and not a number where there is no null either.
    """
    highest = spans.max(axis=1, initial=_LOWEST)
    with np.errstate(divide="ignore", invalid="ignore"):  # where there is no span, or neither
        of_spans = np.log(np.exp(spans - highest[:, None]).sum(axis=1)) + highest
        return null - of_spans


def null_probabilities(log_odds: FloatArray, temperatures: Temperatures) -> FloatArray:
    """Computes the probability of null from its log-odds; ``[questions]`` each."""
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(_divided(temperatures.null_bias - log_odds, temperatures.null_temperature)))


def _divided(scores: FloatArray, temperature: float) -> FloatArray:
    with np.errstate(over="ignore"):
        return scores / temperature


def _softmax(scores: FloatArray) -> FloatArray:
    """The softmax of each row; zeros for a row that holds nothing but minus infinity."""
    weights = np.exp(scores - scores.max(axis=1, keepdims=True, initial=_LOWEST))
    # The highest score has a weight of 1.
    return weights / weights.sum(axis=1, keepdims=True).clip(min=1.0)
