"""Files of sweeps: what is read from them, and the one line that a mistake in one ends in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qa_lightning.cli.main import main
from qa_lightning.experiments.sweep_file import read_sweep
from tests.conftest import ROOT
from tests.experiments.sweeps import LR, SIZES, write_sweep


def test_what_stands_for_what_is_not_given(tmp_path: Path) -> None:
    parameters = {
        "a": {"min": 1, "max": 3},
        "b": {"min": 1, "max": 3.5},
        "c": {"value": "text"},
        "d": {"distribution": "q_normal"},
        "e": {"parameters": {"f": {"values": [True, None]}, "g": {"parameters": {"h": {"value": [1]}}}}},
        "i.j": {"values": ["x", "y"], "probabilities": [0.25, 0.75]},
    }
    command = ["python", "train.py", "${args_json_file}"]
    sweep = read_sweep(
        write_sweep(tmp_path / "a.yaml", parameters=parameters, metric={"name": "loss"}, command=command)
    )
    found = {parameter.name: (parameter.path, parameter.distribution) for parameter in sweep.parameters}
    assert found == {
        "a": (("a",), "int_uniform"),
        "b": (("b",), "uniform"),
        "c": (("c",), "constant"),
        "d": (("d",), "q_normal"),
        "e.f": (("e", "f"), "categorical"),
        "e.g.h": (("e", "g", "h"), "constant"),
        "i.j": (("i.j",), "categorical_w_probabilities"),
    }
    assert dict(sweep.parameters[3].settings) == {"mu": 0.0, "sigma": 1.0, "q": 1}
    assert not sweep.metric.maximize  # as W&B has it
    assert (sweep.early_terminate, sweep.run_cap) == (None, 4)


@pytest.mark.parametrize(
    ("settings", "brackets"),
    [
        ({"min_iter": 3}, (3, 9, 27, 81)),
        ({"min_iter": 2, "eta": 2}, (2, 4, 8, 16)),
        ({"max_iter": 27, "s": 2}, (3, 9)),
        ({"max_iter": 5, "eta": 2, "s": 2}, (1, 2)),
        ({"max_iter": 26, "s": 2, "eta": 3}, (2, 8)),  # not 2 and 6
        ({"max_iter": 4, "s": 5, "eta": 2}, (1, 2)),
    ],
)
def test_the_brackets_are_those_of_wandb(tmp_path: Path, settings: dict[str, int], brackets: tuple[int, ...]) -> None:
    path = write_sweep(tmp_path / "a.yaml", early_terminate={"type": "hyperband", **settings})
    stopping = read_sweep(path).early_terminate
    assert stopping is not None
    assert stopping.brackets[: len(brackets)] == brackets
    assert "max_iter" not in settings or stopping.brackets == brackets


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_all_files_of_the_project_are_read(path: Path) -> None:
    sweep = read_sweep(path)
    assert sweep.metric.maximize
    assert sweep.searched


def parameter(**settings: Any) -> dict[str, Any]:
    return {"parameters": {"x": settings}}


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"method": "bayesian"}, "method 'bayesian' is not one of grid, random, bayes"),
    ({"method": None}, "no sweep, which has a method"),
    ({"metric": None}, "no metric; name what runs log"),
    ({"metric": {"name": "f1", "goal": "max"}}, "metric.goal 'max' is neither minimize nor maximize"),
    ({"metric": {"name": "f1", "target": "1.0"}}, "metric.target: '1.0' is not a number"),
    ({"metrics": []}, "metrics has several objectives, which only the server of W&B does"),
    ({"job": "a"}, "job starts jobs of W&B Launch"),
    ({"runcap": 3}, "unknown key 'runcap'; did you mean 'run_cap'?"),
    ({"run_cap": 0}, "run_cap 0 is not a whole number from 1 on"),
    ({"program": None}, "program is not given"),
    ({"command": "python a.py"}, "command: give a list of words"),
    ({"command": ["python", "${arg}"]}, "command: ${arg} is not known"),
    ({"command": ["python", "a.py"]}, "command: no ${args} in it"),
    ({"parameters": None}, "parameters: none are given"),
    ({"parameters": {"x": 3}}, "parameters.x: 3 is no parameter; write value: 3 below it"),
    ({"parameters": {"x": {"parameters": {}}}}, "parameters.x: none are given"),
    (
        {"parameters": {"x": {"parameters": {"y": {"value": 1}}}, "x.y": {"value": 2}}},
        "parameters: x.y is there twice, nested and with a point",
    ),
    # The trap of nested keys: without a key between them, W&B takes the inner one for a setting.
    ({"parameters": {"model": {"lr": LR}}}, "parameters.model: a parameter within another stands below a key"),
    ({"parameters": {"model": {"value": 1, "lr": LR}}}, "or write it with a point, as model.lr"),
    # Numbers as text: YAML 1.1 reads neither 1e-5 nor 1.0e5 as a number.
    (parameter(values=["1e-5", 3.0e-5]), "parameters.x: '1e-5' is text: YAML takes"),
    (parameter(min="1e-5", max="1.0e5"), "write 1.0e-05"),
    (parameter(value="1.0e5"), "write 100000.0"),
    (parameter(min="1", max=2), "parameters.x.min: '1' is not a number"),
    (parameter(min=True, max=2), "parameters.x.min: True is not a number"),
    (parameter(min=2, max=1), "parameters.x: min 2 is greater than max 1"),
    (parameter(min=2), "parameters.x has neither value, values, min and max, nor a distribution"),
    (parameter(distribution="unifrom", min=1, max=2), "unknown distribution 'unifrom'; did you mean 'uniform'?"),
    (parameter(distribution=["uniform"], min=1, max=2), "parameters.x: unknown distribution ['uniform']"),
    (parameter(distribution="uniform", min=1), "parameters.x: uniform needs max"),
    (parameter(distribution="uniform", min=1, max=2, mu=0), "parameters.x: uniform has no 'mu'"),
    (parameter(distribution="int_uniform", min=1, max=2.5), "int_uniform lies between whole numbers"),
    (parameter(distribution="log_uniform_values", min=0, max=1), "has no logarithm of min 0"),
    (parameter(distribution="log_uniform", min=0.00001, max=0.001), "log_uniform_values takes the values"),
    (parameter(distribution="log_uniform", min=1, max=1000), "log_uniform takes exponents of e"),
    (parameter(distribution="normal", sigma=0), "parameters.x.sigma: 0 is too small"),
    (parameter(distribution="q_uniform", min=0, max=1, q=-1), "parameters.x.q: -1 is too small"),
    (parameter(values=[]), "parameters.x.values: [] is no list of values"),
    (parameter(values=[None, 1]), "parameters.x: W&B writes null as the text None"),
    (parameter(values=[1, 2], probabilities=[1]), "one is needed for each of the 2 values"),
    (parameter(values=[1, 2], probabilities=[0.5, 0.6]), "they add up to 1.1, not to 1"),
    (parameter(values=[1, 2], probabilities=[1.5, -0.5]), "-0.5 is less than 0"),
    ({"method": "grid"}, "parameters.model.lr: a grid has no end over log_uniform_values"),
    ({"method": "grid"} | parameter(values=[1, 2], probabilities=[0.5, 0.5]), "a grid has no end over"),
    (
        {"method": "grid"} | parameter(distribution="q_uniform", min=1, max=1),
        "parameters.x: no value lies between min and max",
    ),
    ({"early_terminate": {"type": "median"}}, "early_terminate.type must be hyperband"),
    ({"early_terminate": {"type": "hyperband"}}, "early_terminate needs min_iter, or max_iter and s"),
    ({"early_terminate": {"type": "hyperband", "max_iter": 9}}, "early_terminate needs min_iter"),
    ({"early_terminate": {"type": "hyperband", "min_iter": 0}}, "early_terminate.min_iter 0 is not a whole number"),
    ({"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 1.5}}, "early_terminate.eta 1.5 is not"),
    ({"early_terminate": {"type": "hyperband", "max_iter": 2, "s": 1}}, "max_iter 2 is less than eta 3"),
    ({"run_cap": None}, "method random has no end; add run_cap to the file, or --run_cap N"),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES, ids=[message[:50] for _, message in MISTAKES])
def test_a_mistake_ends_in_one_line(
    changes: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_sweep(tmp_path / "bad.yaml", **changes)
    assert main(["sweep", str(path), "--sweep_dir", str(tmp_path / "sweep")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path}: ")
    assert message in line
    assert not list((tmp_path / "sweep").glob("trial-*"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("method: [", "not YAML"),
        ("- a", "no sweep"),
        ("method: grid\nmetric: {name: f1}\nparameters: {1: {value: 1}}", "1 is not the name of a parameter"),
        (
            "method: grid\nprogram: a\nmetric: {name: f1}\nparameters: {x: {values: [2020-01-01]}}",
            "a value is neither a text",
        ),
    ],
)
def test_what_is_no_sweep(text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    assert main(["sweep", str(path)]) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml: the config cannot be read: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "0"], "'0' is not a whole number from 1 on"),
        (["--", "--size", "3"], "--size is given for all trials, but each has its own"),
        (["--", "--run_dir=x"], "--run_dir is given for all trials, but each has its own"),
    ],
)
def test_flags_that_cannot_be(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_sweep(tmp_path / "a.yaml", parameters={"size": SIZES})
    try:
        status = main(["sweep", str(path), *arguments])
    except SystemExit as stop:
        status = int(str(stop.code))
    assert status == 2
    assert message in capsys.readouterr().err
