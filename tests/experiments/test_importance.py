"""The importance of parameters, with its intervals, on functions that are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qa_lightning.experiments.importance import Importance, importances
from qa_lightning.experiments.sweep_file import read_sweep
from qa_lightning.experiments.sweep_study import SweepStudy
from tests.experiments.sweeps import write_sweep

PARAMETERS: dict[str, Any] = {
    "strong": {"min": 0.0, "max": 1.0},
    "weak": {"min": 0.0, "max": 1.0},
    "nothing": {"values": ["a", "b", "c"]},
    "constant": {"value": 1},
}


def make_study(folder: Path, count: int, weights: tuple[float, float]) -> SweepStudy:
    """Random trials whose value is a weighted sum of two parameters; every other one has two values."""
    path = write_sweep(folder / "a.yaml", parameters=PARAMETERS, run_cap=count)
    study = SweepStudy(folder / "sweep", read_sweep(path))
    while (trial := study.next(None)) is not None:
        value = weights[0] * trial.values["strong"] + weights[1] * trial.values["weak"]
        study.report(trial, value)
        study.finish(trial, "complete", [value], 1.0)
    return study


def test_what_matters_comes_first_and_lies_in_its_interval(tmp_path: Path) -> None:
    found = importances(make_study(tmp_path, 24, (3.0, 1.0)), refits=12)
    assert found[0].name == "strong"
    assert {of.name for of in found} == {"strong", "weak", "nothing"}
    assert sum(of.share for of in found) == pytest.approx(1)
    for of in found:
        assert 0 <= of.low <= of.share <= of.high <= 1
        assert of.high > of.low
    strong, other = found[0], next(of for of in found if of.name == "nothing")
    assert strong.share > 0.6
    assert strong.low > other.share


def test_more_trials_say_more(tmp_path: Path) -> None:
    def width(count: int) -> float:
        of: Importance = importances(make_study(tmp_path / str(count), count, (3.0, 1.0)), refits=12)[0]
        return of.high - of.low

    assert width(48) < width(6)


def test_nothing_is_said_where_nothing_is_known(tmp_path: Path) -> None:
    assert importances(make_study(tmp_path / "few", 3, (3.0, 1.0))) == []
    assert importances(make_study(tmp_path / "same", 6, (0.0, 0.0))) == []
