from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit

from qa_lightning.experiments.power_law import fit_power_law, forecast


def test_a_law_is_found_again() -> None:
    sizes = np.array([10.0, 40.0, 160.0, 640.0, 2560.0])
    scores = 90 - 120 * (sizes / 10) ** -0.5
    law = fit_power_law(sizes, scores)
    assert law.limit == pytest.approx(90, abs=1e-3)
    assert law.exponent == pytest.approx(0.5, abs=1e-5)
    # At 256 times the smallest size the drop is a 16th of 120; at 512 times it is less by the root of 2.
    assert law.drop == pytest.approx(7.5, abs=1e-3)
    assert law.at(2560.0) == pytest.approx(82.5)
    assert law.at(5120.0) == pytest.approx(90 - 7.5 / 2**0.5)


def test_it_is_the_least_squares_of_scipy() -> None:
    sizes = np.array([8.0, 20.0, 60.0, 200.0, 700.0, 1500.0])
    scores = 75 - 40 * (sizes / 1500) ** -0.3 + np.random.default_rng(0).normal(0, 1, 6)
    (limit, drop, exponent), _ = curve_fit(lambda x, c, a, b: c - a * (x / 1500) ** -b, sizes, scores, p0=(70, 30, 0.4))
    law = fit_power_law(sizes, scores)
    assert (law.limit, law.drop, law.exponent) == pytest.approx((limit, drop, exponent), rel=1e-3)


def test_scores_stay_between_0_and_100() -> None:
    law = fit_power_law(np.array([1.0, 2.0, 4.0, 8.0]), np.array([10.0, 40.0, 70.0, 100.0]))
    assert law.at(1e6) == 100
    assert law.at(1e-6) == 0


def noisy(sizes: np.ndarray, scores: np.ndarray, deviation: float) -> np.ndarray:
    return scores[:, None] + np.random.default_rng(1).normal(0, deviation, (len(sizes), 200))


SIZES = np.array([100.0, 200.0, 400.0, 800.0])
SCORES = 80 - 10 * (SIZES / 800) ** -0.5


def test_what_is_determined() -> None:
    found = forecast(SIZES, SCORES, noisy(SIZES, SCORES, 0.05))
    assert found.doubt == ""
    assert found.size == 1600
    assert found.gain == pytest.approx(10 - 10 / 2**0.5, abs=1e-3)
    assert found.interval[0] < found.gain < found.interval[1]


def test_noise_determines_nothing() -> None:
    found = forecast(SIZES, SCORES, noisy(SIZES, SCORES, 20.0))
    assert "holds 0" in found.doubt
    flat = np.full(4, 50.0)
    assert "holds 0" in forecast(SIZES, flat, noisy(SIZES, flat, 1.0)).doubt


def test_an_interval_wider_than_all_so_far_determines_nothing() -> None:
    # Every resample rises, but by the first half as much or by the second half more than the data have brought.
    scores = np.array([10.0, 10.5, 11.0, 11.5])
    steep = np.array([0.0, 1.0, 3.0, 9.0])
    resampled = np.stack([scores if place % 2 else scores + steep for place in range(100)], axis=1)
    found = forecast(SIZES, scores, resampled)
    assert found.interval[0] > 0
    assert found.doubt == "its interval is wider than all that the data brought so far, 1.50"


def test_three_sizes_are_too_few() -> None:
    sizes, scores = np.array([100.0, 200.0, 400.0, 400.0]), np.array([1.0, 2.0, 3.0, 3.0])
    found = forecast(sizes, scores, noisy(sizes, scores, 0.1))
    assert found.law is None
    assert found.doubt == "3 sizes do not determine a power law: it takes 4 or more"
