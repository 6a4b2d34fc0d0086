"""Temperatures that are fitted: to answers drawn at known ones, and against the obvious loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from qa_lightning.calibrating.fitting import (
    changes,
    cross_fitted_confidence,
    fit_null,
    fit_temperature,
    fit_temperatures,
    platt_targets,
)
from qa_lightning.decoding.temperatures import PLAIN_SOFTMAX, Temperatures, null_probabilities
from qa_lightning.runs.calibration import AnsweredQuestions
from qa_lightning.utils.errors import UserError

INF = math.inf


def drawn(count: int, temperatures: Temperatures, *, null: bool, seed: int = 0) -> AnsweredQuestions:
    """Questions that are answered rightly as often as these temperatures say; four to a paragraph."""
    generator = np.random.default_rng(seed)
    spans = -np.sort(-generator.normal(0, 4, (count, 6)), axis=1)
    scores = generator.normal(4, 5, count) if null else np.full(count, -INF)
    says_null = scores > spans[:, 0]
    answered = AnsweredQuestions(
        spans, scores, says_null, says_null, says_null, says_null, np.repeat(np.arange(count), 4)[:count]
    )
    of_null = null_probabilities(answered.log_odds(), temperatures) if null else np.zeros(count)
    answerable = generator.random(count) >= of_null
    of_best = 1 / np.exp((spans - spans[:, :1]) / temperatures.temperature).sum(axis=1)
    right = answerable & (generator.random(count) < of_best)
    return AnsweredQuestions(
        spans,
        scores,
        says_null,
        right,
        answerable,
        np.where(says_null, ~answerable, right),
        np.repeat(np.arange(count), 4)[:count],
    )


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_that_answers_were_drawn_at_is_found(temperature: float) -> None:
    found = fit_temperatures(drawn(20_000, Temperatures(temperature), null=False))
    assert found.temperature == pytest.approx(temperature, rel=0.06)
    assert (found.null_temperature, found.null_bias) == (1, 0)


def test_those_of_null_are_found_too() -> None:
    truth = Temperatures(2.0, 3.0, 1.5)
    found = fit_temperatures(drawn(20_000, truth, null=True))
    assert vars(found) == pytest.approx(vars(truth), rel=0.08)


def test_the_confidence_is_a_readers_score() -> None:
    spans, null = np.array([[2.0, 1.0], [2.0, -INF], [-INF, -INF]]), np.array([1.0, 3.0, -INF])
    says_null, nobody = np.array([False, True, True]), np.zeros(3, dtype=bool)
    answered = AnsweredQuestions(spans, null, says_null, nobody, nobody, nobody, np.arange(3))
    total = math.exp(2) + 2 * math.exp(1)
    of_null = math.exp(3) / (math.exp(3) + math.exp(2))
    assert answered.confidence().tolist() == pytest.approx([math.exp(2) / total, of_null, 0])


def slow_loss(gaps: list[list[float]], right: list[bool], temperature: float) -> float:
    total, (yes, no) = 0.0, (sum(right), len(right) - sum(right))
    for row, is_right in zip(gaps, right, strict=True):
        probability = 1 / (1 + sum(math.exp(gap / temperature) for gap in row))
        target = (yes + 1) / (yes + 2) if is_right else 1 / (no + 2)
        total -= target * math.log(probability) + (1 - target) * math.log(1 - probability)
    return total / len(right)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0.5, 20), st.floats(0.5, 20), st.booleans()), min_size=1, max_size=12))
def test_no_temperature_of_a_fine_grid_is_likelier(rows: list[tuple[float, float, bool]]) -> None:
    spans = np.array([[0.0, *sorted((-a, -b), reverse=True)] for a, b, _ in rows])
    right = [is_right for _, _, is_right in rows]
    found = fit_temperature(spans, np.array(right))
    gaps = spans[:, 1:].tolist()
    grid = np.geomspace(0.6, 100, 400)  # below, exp underflows in the slow loss
    best = min(slow_loss(gaps, right, temperature) for temperature in grid)
    if found >= 0.6:
        assert slow_loss(gaps, right, found) <= best + 1e-6
    assert 0.01 <= found <= 100


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(-20, 20), st.booleans()), min_size=2, max_size=15))
def test_the_null_is_fitted_as_by_another_search(rows: list[tuple[float, bool]]) -> None:
    odds, unanswerable = np.array([x for x, _ in rows]), np.array([y for _, y in rows])
    targets = platt_targets(unanswerable)

    def loss(parameters: np.ndarray) -> float:
        slope, intercept = parameters
        logits = slope * odds + intercept
        return float((targets * np.logaddexp(0, -logits) + (1 - targets) * np.logaddexp(0, logits)).mean())

    temperature, bias = fit_null(odds, unanswerable)
    found = loss(np.array([1 / temperature, -bias / temperature]))
    other = minimize(loss, [1.0, 0.0], method="Nelder-Mead", bounds=[(0.01, 100), (None, None)]).fun
    assert found <= other + 1e-5
    assert found <= loss(np.array([1.0, 0.0])) + 1e-12  # where the model was


def test_few_questions_make_no_certainty() -> None:
    spans = np.tile([3.0, 1.0, 0.0], (5, 1))
    temperature = fit_temperature(spans, np.ones(5, dtype=bool))
    best = 1 / sum(math.exp((score - 3) / temperature) for score in (3, 1, 0))
    assert best == pytest.approx(6 / 7, abs=1e-4)  # Platt's target of five right answers
    assert fit_null(np.array([-5.0, -4.0, 6.0, 7.0]), np.array([False, False, True, True]))[0] > 0.5


def test_questions_that_say_nothing_of_a_temperature() -> None:
    alone = np.array([[3.0, -INF], [2.0, -INF]])
    assert fit_temperature(alone, np.array([True, False])) == 1
    answered = drawn(50, PLAIN_SOFTMAX, null=True)
    one_kind = answered.take(answered.answerable)
    assert fit_temperatures(one_kind).null_temperature == 1
    assert fit_temperatures(one_kind).temperature != 1


def test_each_question_is_measured_by_what_was_fitted_to_other_contexts() -> None:
    answered = drawn(40, Temperatures(3.0), null=False)
    halves = AnsweredQuestions(**{**vars(answered), "paragraphs": np.arange(40) % 2})
    found = cross_fitted_confidence(halves)
    for half in (0, 1):
        here = halves.paragraphs == half
        fitted = fit_temperatures(halves.take(~here))
        assert found[here].tolist() == halves.take(here).confidence(fitted).tolist()
    with pytest.raises(UserError, match=r"dev\.json: all questions are on one context"):
        cross_fitted_confidence(AnsweredQuestions(**{**vars(answered), "paragraphs": np.zeros(40)}), "dev.json")


def test_calibration_lowers_the_error_of_a_model_that_is_too_sure() -> None:
    answered = drawn(2_000, Temperatures(4.0, 3.0, 2.0), null=True)
    before, after = answered.confidence(), cross_fitted_confidence(answered)
    found = changes(answered, before, after)
    for name in ("ece_width", "ece_mass", "brier"):
        assert found[name].after < found[name].before
        assert found[name].difference_interval[1] < 0
    assert found["ece_mass"].after < 0.04
    assert found["aurc"].before_interval[0] <= found["aurc"].before <= found["aurc"].before_interval[1]
