"""Parameters of sweeps: what is drawn lies where W&B's distribution lies."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from qa_lightning.experiments.parameters import FIELDS, Parameter, drawn_values, nested
from qa_lightning.experiments.sweep_checks import read_parameter

optuna = pytest.importorskip("optuna")


def draw(settings: dict[str, Any], count: int = 400) -> list[Any]:
    """Random values of a parameter."""
    parameter = read_parameter(("x",), settings)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    return [parameter.value(parameter.draw(study.ask())) for _ in range(count)]


CONTINUOUS: list[tuple[dict[str, Any], Any]] = [
    ({"min": -1.0, "max": 3.0}, stats.uniform(-1, 4)),
    ({"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-1}, stats.loguniform(1e-5, 1e-1)),
    ({"distribution": "log_uniform", "min": -3, "max": 2}, stats.loguniform(math.exp(-3), math.exp(2))),
    ({"distribution": "inv_log_uniform", "min": -3, "max": 2}, stats.loguniform(math.exp(-2), math.exp(3))),
    ({"distribution": "inv_log_uniform_values", "min": 0.1, "max": 10}, stats.loguniform(0.1, 10)),
    ({"distribution": "normal", "mu": 3, "sigma": 2}, stats.norm(3, 2)),
    ({"distribution": "log_normal", "mu": 1, "sigma": 0.5}, stats.lognorm(0.5, scale=math.e)),
    ({"distribution": "beta", "a": 2, "b": 5}, stats.beta(2, 5)),
]


@pytest.mark.parametrize(("settings", "distribution"), CONTINUOUS, ids=[str(row[0]) for row in CONTINUOUS])
def test_numbers_are_distributed_as_they_should(settings: dict[str, Any], distribution: Any) -> None:
    assert stats.kstest(draw(settings), distribution.cdf).pvalue > 0.01  # the draws are always the same


@pytest.mark.parametrize(
    ("settings", "distribution"),
    [
        ({"distribution": "q_uniform", "min": 1, "max": 9, "q": 2}, stats.uniform(1, 8)),
        ({"distribution": "q_log_uniform", "min": 0, "max": 4, "q": 2}, stats.loguniform(1, math.exp(4))),
        ({"distribution": "q_log_uniform_values", "min": 1, "max": 64, "q": 2}, stats.loguniform(1, 64)),
        ({"distribution": "q_normal", "mu": 10, "sigma": 4, "q": 2}, stats.norm(10, 4)),
        ({"distribution": "q_log_normal", "mu": 2, "sigma": 1, "q": 2}, stats.lognorm(1, scale=math.exp(2))),
        ({"distribution": "q_beta", "a": 2, "b": 2, "q": 0.25}, stats.beta(2, 2)),
    ],
    ids=lambda value: value["distribution"] if isinstance(value, dict) else "",
)
def test_steps_are_multiples_of_q(settings: dict[str, Any], distribution: Any) -> None:
    values, step = draw(settings), settings["q"]
    assert {type(value) for value in values} == {type(step)}
    assert all(value / step == round(value / step) for value in values)
    middle = step * round(distribution.median() / step)
    # As many as the distribution has within half a step.
    share = distribution.cdf(middle + step / 2) - distribution.cdf(middle - step / 2)
    assert abs(np.mean(np.array(values) == middle) - share) < 0.07


def test_whole_numbers_and_choices() -> None:
    values = draw({"min": 2, "max": 4})
    assert set(values) == {2, 3, 4}
    assert all(type(value) is int for value in values)
    choices = [True, 1, 1.0, "1", None, [1, 2], "a b"]
    found = draw({"values": choices})
    assert sorted({repr(value) for value in found}) == sorted(map(repr, choices))
    weighted = draw({"values": ["a", "b", "c"], "probabilities": [0.2, 0.0, 0.8]})
    assert abs(weighted.count("a") / len(weighted) - 0.2) < 0.05
    assert "b" not in weighted


@pytest.mark.parametrize("drawn", [0.0, 1 - 1e-6, 1.0])
def test_the_ends_of_probabilities(drawn: float) -> None:
    parameter = read_parameter(("x",), {"values": ["a", "b", "c"], "probabilities": [0.1, 0.9, 0.0]})
    assert parameter.value(drawn) == ("a" if drawn == 0 else "b")


def test_grids() -> None:
    def grid(**settings: Any) -> list[Any]:
        parameter = replace(read_parameter(("x",), settings), in_grid=True)
        # Optuna gives back steps as fractions.
        return [parameter.value(float(drawn) if "q" in settings else drawn) for drawn in parameter.grid()]

    assert grid(min=2, max=4) == [2, 3, 4]
    assert grid(values=[8, "a", 8, None]) == [8, "a", None]
    assert grid(distribution="q_uniform", min=0.0, max=1.0, q=0.25) == [0.0, 0.25, 0.5, 0.75]  # as W&B: without max
    # Steps begin at min, which is no multiple of q, and are whole where all of it is.
    assert list(map(str, grid(distribution="q_uniform", min=1, max=7, q=2))) == ["1", "3", "5"]
    assert grid(distribution="q_uniform", min=0.05, max=0.3, q=0.1) == pytest.approx([0.05, 0.15, 0.25])


def test_nested_values_and_constants() -> None:
    parameters = [
        read_parameter(("model", "lr"), {"values": [0.1, 0.2]}),
        read_parameter(("model", "inner", "b"), {"value": [1]}),
        read_parameter(("data.size",), {"min": 1, "max": 2}),
    ]
    values = drawn_values(parameters, {"model.lr": "0.2", "data.size": 2})
    assert nested(values) == {"model": {"lr": 0.2, "inner": {"b": [1]}}, "data.size": 2}


def test_every_distribution_of_wandb_is_there() -> None:
    tested = {row[0].get("distribution", "uniform") for row in CONTINUOUS}
    quantised = {"q_uniform", "q_log_uniform", "q_log_uniform_values", "q_normal", "q_log_normal", "q_beta"}
    others = {"constant", "categorical", "categorical_w_probabilities", "int_uniform"}
    assert tested | quantised | others == set(FIELDS)
    assert Parameter(("a", "b"), "constant", {"value": 1}).name == "a.b"
