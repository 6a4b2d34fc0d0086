"""The parameters of a sweep, in the grammar of Weights & Biases, and how Optuna is asked for their values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.trial import Trial

_RANGE = ("min", "max")
_STEPS = (*_RANGE, "q")
_NORMAL = ("mu", "sigma")

FIELDS: dict[str, tuple[str, ...]] = {
    "constant": ("value",),
    "categorical": ("values",),
    "categorical_w_probabilities": ("values", "probabilities"),
    "int_uniform": _RANGE,
    "uniform": _RANGE,
    "q_uniform": _STEPS,
    "log_uniform": _RANGE,
    "log_uniform_values": _RANGE,
    "inv_log_uniform": _RANGE,
    "inv_log_uniform_values": _RANGE,
    "q_log_uniform": _STEPS,
    "q_log_uniform_values": _STEPS,
    "normal": _NORMAL,
    "q_normal": (*_NORMAL, "q"),
    "log_normal": _NORMAL,
    "q_log_normal": (*_NORMAL, "q"),
    "beta": ("a", "b"),
    "q_beta": ("a", "b", "q"),
}
"""The distributions of W&B, and what each is given by."""

DEFAULTS = {"q": 1, "mu": 0.0, "sigma": 1.0, "a": 1.0, "b": 1.0}
"""What stands for a setting that is not given."""

IN_GRIDS = ("constant", "categorical", "int_uniform", "q_uniform")
"""The distributions of which a grid takes every value."""

_EDGE = 1e-6
"""How near to 0 and 1 the probability lies by which a value is taken from a distribution without bounds."""


@dataclass(frozen=True, eq=False)
class Parameter:
    """A parameter of a sweep.

    What Optuna is asked for is the *drawn* value: a number, or the label of a choice. `value` turns it into what a
    trial is given. The distributions that Optuna lacks are drawn as a probability, whose quantile the value is.

    Attributes:
        path: The names of the mappings that it stands in, and its own.
        distribution: One of `FIELDS`.
        settings: What that is given by, complete.
        in_grid: Whether its values are those of a grid: steps from min on, as W&B makes them, not multiples of q.
    """

    path: tuple[str, ...]
    distribution: str
    settings: Mapping[str, Any]
    in_grid: bool = False

    @property
    def name(self) -> str:
        """What it is called: ``model.learning_rate``, whether it is nested or written with a point."""
        return ".".join(self.path)

    @property
    def is_constant(self) -> bool:
        """Whether there is nothing to choose."""
        return self.distribution == "constant"

    @property
    def is_choice(self) -> bool:
        """Whether its values are listed."""
        return self.distribution.startswith("categorical")

    @property
    def is_logarithmic(self) -> bool:
        """Whether its values are spread evenly over their logarithms."""
        return "log_" in self.distribution

    @property
    def labels(self) -> list[str]:
        """The labels of its choices, each once."""
        return list(dict.fromkeys(map(label_of, self.settings["values"])))

    def bounds(self) -> tuple[float, float]:
        """The least and the greatest value of a distribution that is given by them, before it is rounded."""
        low, high = self.settings["min"], self.settings["max"]
        if self.is_logarithmic and not self.distribution.endswith("_values"):  # they are exponents
            return (math.exp(-high), math.exp(-low)) if "inv_" in self.distribution else (math.exp(low), math.exp(high))
        return low, high

    def draw(self, trial: Trial) -> Any:
        """Draws for a trial; a trial that has drawn keeps what it has."""
        if self.distribution == "categorical":
            return trial.suggest_categorical(self.name, self.labels)
        if "min" not in self.settings:
            return trial.suggest_float(self.name, _EDGE, 1 - _EDGE)
        low, high = self.bounds()
        if self.distribution == "int_uniform":
            return trial.suggest_int(self.name, int(low), int(high))
        return trial.suggest_float(self.name, low, high, log=self.is_logarithmic)

    def grid(self) -> list[Any]:
        """All that can be drawn in a grid."""
        if self.is_choice:
            return list(self.labels)
        low, high = self.bounds()
        if self.distribution == "int_uniform":
            return list(range(int(low), int(high) + 1))
        import numpy as np

        return list(np.arange(low, high, self.settings["q"]).tolist())

    def value(self, drawn: Any) -> Any:
        """What a trial is given for what was drawn."""
        if self.distribution == "categorical":
            return self.settings["values"][list(map(label_of, self.settings["values"])).index(drawn)]
        if self.is_choice:
            return self.settings["values"][_place(self.settings["probabilities"], drawn)]
        number = drawn if "min" in self.settings else _quantile(self.distribution.removeprefix("q_"), self, drawn)
        if not self.distribution.startswith("q_"):
            return number
        step = self.settings["q"]
        if self.in_grid:  # whole where all settings are; Optuna draws it as a fraction
            return int(number) if all(isinstance(value, int) for value in self.settings.values()) else number
        rounded = round(number / step) * step
        return int(rounded) if isinstance(step, int) else float(rounded)


def label_of(value: Any) -> str:
    """A value of a list as Optuna and tables know it: a text as it is, all else, and a text that looks so, as JSON."""
    if isinstance(value, str) and not _is_json(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def nested(values: Mapping[Parameter, Any]) -> dict[str, Any]:
    """The values of parameters by their names, those that are nested in dictionaries, as W&B gives them to a run."""
    whole: dict[str, Any] = {}
    for parameter, value in values.items():
        within = whole
        for name in parameter.path[:-1]:
            within = within.setdefault(name, {})
        within[parameter.path[-1]] = value
    return whole


def drawn_values(parameters: Sequence[Parameter], drawn: Mapping[str, Any]) -> dict[Parameter, Any]:
    """The value of every parameter, the constants among them.

    Args:
        parameters: The parameters.
        drawn: What was drawn for each that is not constant, by its name.
    """
    return {
        parameter: parameter.settings["value"] if parameter.is_constant else parameter.value(drawn[parameter.name])
        for parameter in parameters
    }


def _quantile(distribution: str, parameter: Parameter, probability: float) -> float:
    from scipy import stats

    settings = parameter.settings
    if distribution == "normal":
        return float(stats.norm.ppf(probability, settings["mu"], settings["sigma"]))
    if distribution == "log_normal":
        return float(stats.lognorm.ppf(probability, s=settings["sigma"], scale=math.exp(settings["mu"])))
    return float(stats.beta.ppf(probability, settings["a"], settings["b"]))


def _place(probabilities: Sequence[float], drawn: float) -> int:
    """The place of the choice whose share of the line from 0 to 1 a number lies in."""
    total = 0.0
    for place, probability in enumerate(probabilities):
        total += probability
        if drawn < total:
            return place
    return max(place for place, probability in enumerate(probabilities) if probability > 0)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
