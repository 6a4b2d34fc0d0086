"""Calibration errors, Brier scores and risk over coverage, against numbers worked out by hand and the obvious loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_lightning.scoring.calibration import (
    FIGURES,
    area_under_risk_coverage,
    brier_score,
    calibration_figures,
    calibration_intervals,
    reliability,
    resampled_figures,
    risk_coverage,
)

ROWS = st.lists(st.tuples(st.one_of(st.floats(0, 1), st.sampled_from([0.2, 0.5, 0.9])), st.booleans()), min_size=1)


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def columns(rows: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return floats(*(p for p, _ in rows)), np.array([right for _, right in rows], dtype=bool)


def test_bins_of_equal_width_by_hand() -> None:
    # (0, 0.5]: two answers, mean confidence 0.4, one right; (0.5, 1]: two, 0.9, both right.
    bins = reliability(floats(0.3, 0.5, 0.8, 1.0), np.array([False, True, True, True]), bins=2)
    assert bins.edges.tolist() == [0, 0.5, 1]
    assert bins.counts.tolist() == [2, 2]
    assert bins.confidence.tolist() == pytest.approx([0.4, 0.9])
    assert bins.accuracy.tolist() == [0.5, 1.0]
    assert bins.error == pytest.approx((2 * 0.1 + 2 * 0.1) / 4)


def test_bins_of_equal_mass_by_hand() -> None:
    # All are above 0.5: three of them, mean confidence 0.7, one right; and three, 0.95, two right.
    confidence = floats(0.99, 0.6, 0.7, 0.8, 0.9, 0.96)
    bins = reliability(confidence, np.array([True, False, True, False, True, False]), bins=2, equal_mass=True)
    assert bins.edges.tolist() == [0, 0.8, 1]
    assert bins.counts.tolist() == [3, 3]
    assert bins.confidence.tolist() == pytest.approx([0.7, 0.95])
    assert bins.error == pytest.approx((3 * abs(1 / 3 - 0.7) + 3 * abs(2 / 3 - 0.95)) / 6)


def test_equal_confidences_are_in_one_bin() -> None:
    bins = reliability(floats(0.4, 0.9, 0.9, 0.9, 0.9), np.array([True, True, False, True, True]), equal_mass=True)
    assert bins.counts.tolist() == [1, 4]
    assert reliability(floats(0.9, 0.9), np.array([True, False]), equal_mass=True).counts.tolist() == [2]


def test_a_bin_holds_its_upper_edge_and_the_first_one_zero() -> None:
    edges = floats(0.0, *(tenth / 10 for tenth in range(1, 11)))
    bins = reliability(edges, np.ones(11, dtype=bool))
    assert bins.counts.tolist() == [2, *([1] * 9)]
    empty = reliability(floats(0.95), np.array([True]))
    assert empty.error == pytest.approx(0.05)
    assert np.isnan(empty.accuracy[:9]).all()


def slow_error(rows: list[tuple[float, bool]], edges: list[float]) -> float:
    error = 0.0
    for place, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = [(p, right) for p, right in rows if low < p <= high or (place == 0 and p == 0)]
        if inside:
            confidence = sum(p for p, _ in inside) / len(inside)
            accuracy = sum(right for _, right in inside) / len(inside)
            error += len(inside) / len(rows) * abs(accuracy - confidence)
    return error


def slow_masses(rows: list[tuple[float, bool]], bins: int) -> list[float]:
    """The confidences at which so many shares of the answers are reached."""
    ordered = sorted(p for p, _ in rows)
    inner = set()
    for m in range(1, bins):
        reached = next(p for place, p in enumerate(ordered, 1) if place * bins >= m * len(ordered))
        inner.add(reached)
    return [0.0, *sorted(inner - {ordered[-1]}), 1.0]


@given(ROWS)
def test_errors_are_those_of_the_obvious_loops(rows: list[tuple[float, bool]]) -> None:
    tenths = [tenth / 10 for tenth in range(11)]
    assert reliability(*columns(rows)).error == pytest.approx(slow_error(rows, tenths), abs=1e-12)
    masses = reliability(*columns(rows), equal_mass=True)
    assert masses.error == pytest.approx(slow_error(rows, slow_masses(rows, 10)), abs=1e-12)


def test_brier_score_by_hand() -> None:
    assert brier_score(floats(0.9, 0.6, 0.2), np.array([True, False, False])) == pytest.approx((0.01 + 0.36 + 0.04) / 3)


def test_risk_and_coverage_by_hand() -> None:
    confidence, right = floats(0.5, 0.9, 0.7, 0.8), np.array([False, True, True, False])
    curve = risk_coverage(confidence, right)
    assert curve.coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert curve.risk.tolist() == pytest.approx([0, 1 / 2, 1 / 3, 2 / 4])
    assert area_under_risk_coverage(confidence, right) == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)


def test_answers_of_one_confidence_are_a_point_of_the_curve() -> None:
    curve = risk_coverage(floats(0.8, 0.8, 0.9), np.array([True, False, True]))
    assert curve.coverage.tolist() == pytest.approx([1 / 3, 1])
    assert curve.risk.tolist() == pytest.approx([0, 1 / 3])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.8]), st.booleans()), min_size=1, max_size=6))
def test_the_area_is_the_mean_over_all_orders_of_equals(rows: list[tuple[float, bool]]) -> None:
    areas = []
    for order in itertools.permutations(rows):
        if [p for p, _ in order] == sorted((p for p, _ in rows), reverse=True):
            wrong = [sum(not right for _, right in order[: k + 1]) / (k + 1) for k in range(len(rows))]
            areas.append(sum(wrong) / len(rows))
    assert area_under_risk_coverage(*columns(rows)) == pytest.approx(sum(areas) / len(areas))


def test_ranking_is_all_that_matters_to_the_area() -> None:
    confidence, right = floats(0.1, 0.2, 0.3, 0.4), np.array([False, True, False, True])
    assert area_under_risk_coverage(confidence**3, right) == area_under_risk_coverage(confidence, right)
    best = area_under_risk_coverage(floats(0.1, 0.3, 0.2, 0.4), right)
    assert best < area_under_risk_coverage(confidence, right)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.1, 0.35, 0.5, 0.8, 1.0]), st.booleans(), st.integers(0, 3)),
        min_size=1,
        max_size=10,
    ),
    st.integers(0, 9),
)
def test_resamples_are_those_of_the_obvious_loop(rows: list[tuple[float, bool, int]], seed: int) -> None:
    confidence, right = columns([row[:2] for row in rows])
    clusters = np.array([row[2] for row in rows])
    found = resampled_figures(confidence, right, clusters, resamples=7, seed=seed)
    numbers = sorted({*clusters.tolist()})
    generator = np.random.default_rng(seed)
    edges = [reliability(confidence, right, equal_mass=mass).edges.tolist() for mass in (False, True)]
    for place, drawn in enumerate(generator.integers(len(numbers), size=(7, len(numbers)))):
        again = [row[:2] for number in drawn for row in rows if row[2] == numbers[number]]
        expected = {
            "ece_width": slow_error(again, edges[0]),
            "ece_mass": slow_error(again, edges[1]),
            "brier": brier_score(*columns(again)),
            "aurc": area_under_risk_coverage(*columns(again)),
        }
        assert {name: values[place] for name, values in found.items()} == pytest.approx(expected, abs=1e-9)


def test_one_cluster_has_no_spread() -> None:
    confidence, right = floats(0.3, 0.5, 0.8), np.array([False, True, True])
    figures = calibration_figures(confidence, right)
    assert list(figures) == list(FIGURES)
    for name, (low, high) in calibration_intervals(confidence, right, np.zeros(3, dtype=int)).items():
        assert low == high == pytest.approx(figures[name])


def test_intervals_hold_the_figures_of_what_answers_are_drawn_from() -> None:
    # Confidences are right as often as they say, but for 0.2.
    generator = np.random.default_rng(0)
    truth, held = generator.uniform(0.2, 1.0, 3000), 0
    for seed in range(20):
        right = np.random.default_rng(seed).random(3000) < truth - 0.2
        low, high = calibration_intervals(truth, right, np.arange(3000), resamples=300, seed=seed)["ece_width"]
        held += low <= 0.2 <= high
    assert held >= 16
