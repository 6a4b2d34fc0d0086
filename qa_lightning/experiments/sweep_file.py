"""Reads the file of a sweep, as ``wandb sweep`` takes it, and says in a line what is wrong with it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from qa_lightning.experiments.parameters import IN_GRIDS, Parameter
from qa_lightning.experiments.sweep_checks import check_number, read_parameter
from qa_lightning.experiments.sweep_command import DEFAULT_COMMAND, check_command
from qa_lightning.utils.bounded_yaml import read_config
from qa_lightning.utils.errors import UserError

METHODS = ("grid", "random", "bayes")
_FOR_THE_SERVER = ("apiVersion", "controller", "description", "entity", "kind", "name", "project")
_TAKEN = ("command", "early_terminate", "method", "metric", "parameters", "program", "run_cap")
_OF_THE_SERVER = {
    "job": "starts jobs of W&B Launch",
    "image_uri": "starts jobs of W&B Launch",
    "scheduler": "brings a scheduler of its own",
    "metrics": "has several objectives",
}


@dataclass(frozen=True)
class Metric:
    """What a sweep makes as large or as small as it can.

    Attributes:
        name: The name under which runs log it: ``val/f1``.
        maximize: Whether more of it is better.
        target: The value at which the sweep has found what it looks for; None: it goes on.
    """

    name: str
    maximize: bool
    target: float | None = None

    def best(self, values: Iterable[float]) -> float:
        """The best of some values."""
        return max(values) if self.maximize else min(values)

    def is_reached(self, value: float) -> bool:
        """Whether a value is as good as the target."""
        return self.target is not None and (value >= self.target if self.maximize else value <= self.target)


@dataclass(frozen=True)
class Hyperband:
    """When trials are compared with others, and stopped where they are not among the best.

    Attributes:
        brackets: After how many values of the metric, ascending.
        eta: Of so many trials, one goes on.
    """

    brackets: tuple[int, ...]
    eta: int


@dataclass(frozen=True)
class Sweep:
    """A sweep as its file has it.

    Attributes:
        path: The file.
        method: ``grid``, ``random`` or ``bayes``.
        metric: The objective.
        parameters: What is tried, in the order of the file.
        command: The command of a trial, in which macros stand for what differs.
        program: What ``${program}`` stands for.
        run_cap: How many trials there are at most.
        early_terminate: When trials are stopped; None: never.
    """

    path: Path
    method: str
    metric: Metric
    parameters: tuple[Parameter, ...]
    command: tuple[str, ...]
    program: str
    run_cap: int | None
    early_terminate: Hyperband | None

    @property
    def searched(self) -> list[Parameter]:
        """The parameters that differ between trials."""
        return [parameter for parameter in self.parameters if not parameter.is_constant]


def read_sweep(path: Path) -> Sweep:
    """Reads the file of a sweep.

    Raises:
        UserError: Where it is none, or asks for what is not known here; the message names the key.
    """
    text = read_config(str(path))
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path}: not YAML: {error}") from error
    try:
        return _sweep(path, content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _sweep(path: Path, content: Any) -> Sweep:
    if not isinstance(content, dict) or "method" not in content:
        raise UserError("no sweep, which has a method (grid, random or bayes) and parameters")
    _check_keys(content)
    method = content["method"]
    if method not in METHODS:
        raise UserError(f"method {method!r} is not one of {', '.join(METHODS)}")
    parameters = tuple(_parameters(content.get("parameters"), ()))
    names = [parameter.name for parameter in parameters]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"parameters: {name} is there twice, nested and with a point; keep one")
    if method == "grid":
        parameters = tuple(replace(parameter, in_grid=True) for parameter in parameters)
        _check_grid(parameters)
    program = content.get("program", "")
    command = content.get("command")
    command = list(DEFAULT_COMMAND) if command is None else command
    check_command(command, program, parameters)
    run_cap = content.get("run_cap")
    if run_cap is not None and (type(run_cap) is not int or run_cap < 1):
        raise UserError(f"run_cap {run_cap!r} is not a whole number from 1 on")
    stopping = content.get("early_terminate")
    return Sweep(
        path=path,
        method=method,
        metric=_metric(content.get("metric")),
        parameters=parameters,
        command=tuple(map(str, command)),
        program=str(program),
        run_cap=run_cap,
        early_terminate=None if stopping is None else _hyperband(stopping),
    )


def _check_keys(content: Mapping[str, Any]) -> None:
    for key in content:
        if key in _OF_THE_SERVER:
            raise UserError(f"{key} {_OF_THE_SERVER[key]}, which only the server of W&B does")
        if key not in (*_TAKEN, *_FOR_THE_SERVER):
            near = difflib.get_close_matches(str(key), _TAKEN, n=1)
            raise UserError(f"unknown key {key!r}; " + (f"did you mean {near[0]!r}?" if near else "W&B has none"))


def _parameters(content: Any, path: tuple[str, ...]) -> Iterable[Parameter]:
    """The parameters of a mapping, with those that are nested in it."""
    where = ".".join(("parameters", *path))
    if not isinstance(content, dict) or not content:
        raise UserError(f"{where}: none are given; each is a name, and below it value, values, or min and max")
    for key, settings in content.items():
        if not isinstance(key, str) or not key:
            raise UserError(f"{where}: {key!r} is not the name of a parameter")
        if not isinstance(settings, dict):
            raise UserError(f"{where}.{key}: {settings!r} is no parameter; write value: {settings!r} below it")
        if set(settings) == {"parameters"}:
            yield from _parameters(settings["parameters"], (*path, key))
        else:
            yield read_parameter((*path, key), settings)


def _check_grid(parameters: Iterable[Parameter]) -> None:
    for parameter in parameters:
        if parameter.distribution not in IN_GRIDS:
            raise UserError(
                f"parameters.{parameter.name}: a grid has no end over {parameter.distribution}; list values, or take "
                "method random or bayes"
            )
        if not parameter.is_constant and not parameter.grid():
            raise UserError(f"parameters.{parameter.name}: no value lies between min and max; a grid leaves max out")


def _metric(content: Any) -> Metric:
    if not isinstance(content, dict) or not isinstance(content.get("name"), str):
        raise UserError("no metric; name what runs log: metric: {name: val/f1, goal: maximize}")
    known = ("name", "goal", "target", "impute", "impute_while_running")
    for key in content:
        if key not in known:
            raise UserError(f"metric.{key} is not known; a metric has {', '.join(known[:3])}")
    goal = content.get("goal", "minimize")
    if goal not in ("minimize", "maximize"):
        raise UserError(f"metric.goal {goal!r} is neither minimize nor maximize")
    target = content.get("target")
    return Metric(
        content["name"], goal == "maximize", None if target is None else check_number("metric.target", target)
    )


def _hyperband(content: Any) -> Hyperband:
    """The brackets, as W&B's own controller counts them: in values of the metric, the first of which is number 1."""
    where = "early_terminate"
    if not isinstance(content, dict) or content.get("type") != "hyperband":
        raise UserError(f"{where}.type must be hyperband")
    numbers = {"eta": 3, **content}
    for key in ("min_iter", "max_iter", "s", "eta"):
        least = 2 if key == "eta" else 1
        if key in numbers and (type(numbers[key]) is not int or numbers[key] < least):
            raise UserError(f"{where}.{key} {numbers[key]!r} is not a whole number from {least} on")
    eta = numbers["eta"]
    if "max_iter" in numbers and "s" in numbers:
        shares = (numbers["max_iter"] / eta**i for i in range(numbers["s"], 0, -1))
        brackets = tuple(int(share) for share in shares if share >= 1)
        if not brackets:
            raise UserError(f"{where}: max_iter {numbers['max_iter']} is less than eta {eta}: nothing is compared")
        return Hyperband(brackets, eta)
    if "min_iter" not in numbers:
        raise UserError(f"{where} needs min_iter, or max_iter and s")
    return Hyperband(tuple(numbers["min_iter"] * eta**i for i in range(32)), eta)
