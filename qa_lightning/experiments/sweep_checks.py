"""Checks one parameter of a sweep's file, and says in a line what is wrong with it."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from qa_lightning.experiments.parameters import DEFAULTS, FIELDS, Parameter
from qa_lightning.utils.errors import UserError

_NUMBER_AS_TEXT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
_POSITIVE = ("q", "a", "b", "sigma")


def read_parameter(path: tuple[str, ...], settings: Mapping[str, Any]) -> Parameter:
    """Reads a parameter.

    Args:
        path: Its name, behind those of the parameters that it is nested in.
        settings: What stands below its name.

    Raises:
        UserError: Where that is not what W&B takes.
    """
    where = ".".join(("parameters", *path))
    for number in _numbers_as_text(list(settings.values())):
        better = yaml.safe_dump(float(number)).split()[0]
        raise UserError(
            f"{where}: {number!r} is text: YAML takes a number with an exponent only with a point and a sign; write "
            f"{better}"
        )
    distribution = _distribution(where, settings)
    fields = FIELDS[distribution]
    for key, value in settings.items():
        if key in ("distribution", *fields):
            continue
        if isinstance(value, dict):
            raise UserError(
                f"{where}.{key}: a parameter within another stands below a key `parameters:`; or write it with a "
                f"point, as {'.'.join(path)}.{key}"
            )
        raise UserError(f"{where}: {distribution} has no {key!r}; it is given by {', '.join(fields)}")
    complete = {name: settings.get(name, DEFAULTS.get(name)) for name in fields}
    absent = [name for name in fields if name not in settings and name not in DEFAULTS]
    if absent:
        raise UserError(f"{where}: {distribution} needs {' and '.join(absent)}")
    parameter = Parameter(path, distribution, complete)
    _check_values(where, parameter)
    return parameter


def check_number(where: str, value: Any) -> float:
    """Checks that a value is a number, and returns it.

    Args:
        where: What messages call it.
        value: The value.

    Raises:
        UserError: Where it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"{where}: {value!r} is not a number")
    return value


def _numbers_as_text(value: Any) -> Iterator[str]:
    """The texts that were meant as numbers: ``1e-5``, which YAML reads as a text."""
    if isinstance(value, str) and _NUMBER_AS_TEXT.fullmatch(value):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _numbers_as_text(part)


def _distribution(where: str, settings: Mapping[str, Any]) -> str:
    """The distribution that is named, or else the one that W&B takes for what is given."""
    if "distribution" in settings:
        name = settings["distribution"]
        if not isinstance(name, str) or name not in FIELDS:
            near = difflib.get_close_matches(str(name), FIELDS, n=1)
            known = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(FIELDS)}"
            raise UserError(f"{where}: unknown distribution {name!r}; {known}")
        return name
    if "value" in settings:
        return "constant"
    if "values" in settings:
        return "categorical_w_probabilities" if "probabilities" in settings else "categorical"
    if "min" in settings and "max" in settings:
        whole = all(type(settings[key]) is int for key in ("min", "max"))
        return "int_uniform" if whole else "uniform"
    inner = next((key for key, value in settings.items() if isinstance(value, dict) and key != "parameters"), None)
    if inner is not None:
        raise UserError(
            f"{where}: a parameter within another stands below a key `parameters:`; or write it with a point, as "
            f"{where.removeprefix('parameters.')}.{inner}"
        )
    raise UserError(f"{where} has neither value, values, min and max, nor a distribution")


def _check_values(where: str, parameter: Parameter) -> None:
    settings = parameter.settings
    if parameter.is_choice:
        _check_choices(where, settings)
    if parameter.is_choice or parameter.is_constant:
        _check_plain(where, settings)
        return
    for key, value in settings.items():
        check_number(f"{where}.{key}", value)
        if key in _POSITIVE and value <= 0:
            raise UserError(f"{where}.{key}: {value} is too small; it must be above 0")
    if "min" not in settings:
        return
    low, high = settings["min"], settings["max"]
    if parameter.distribution == "int_uniform" and not (type(low) is int and type(high) is int):
        raise UserError(f"{where}: int_uniform lies between whole numbers, not {low} and {high}")
    if low > high:
        raise UserError(f"{where}: min {low} is greater than max {high}")
    if parameter.distribution.endswith("_values") and low <= 0:
        raise UserError(f"{where}: {parameter.distribution} has no logarithm of min {low}; it must be above 0")
    if parameter.is_logarithmic and not parameter.distribution.endswith("_values"):
        _check_exponents(where, parameter)


def _check_exponents(where: str, parameter: Parameter) -> None:
    """Refuses exponents that were meant as values, or that are of no number."""
    low, high = parameter.settings["min"], parameter.settings["max"]
    distribution = parameter.distribution
    if max(abs(low), abs(high)) > 300:
        raise UserError(f"{where}: {distribution} takes exponents of e, and {low} or {high} is of no number")
    if 0 < low <= high < 0.1:
        raise UserError(
            f"{where}: {distribution} takes exponents of e, so this is from {math.exp(low):.4g} to "
            f"{math.exp(high):.4g}; {distribution}_values takes the values"
        )


def _check_plain(where: str, settings: Mapping[str, Any]) -> None:
    try:
        json.dumps(settings.get("value", settings.get("values")), allow_nan=False)
    except (TypeError, ValueError):
        raise UserError(f"{where}: a value is neither a text, a number, true or false nor a list of such") from None


def _check_choices(where: str, settings: Mapping[str, Any]) -> None:
    values = settings["values"]
    if not isinstance(values, list) or not values:
        raise UserError(f"{where}.values: {values!r} is no list of values")
    if "probabilities" not in settings:
        return
    probabilities = settings["probabilities"]
    if not isinstance(probabilities, list) or len(probabilities) != len(values):
        raise UserError(f"{where}.probabilities: one is needed for each of the {len(values)} values")
    for probability in probabilities:
        if check_number(f"{where}.probabilities", probability) < 0:
            raise UserError(f"{where}.probabilities: {probability} is less than 0")
    if not math.isclose(sum(probabilities), 1, abs_tol=1e-6):
        raise UserError(f"{where}.probabilities: they add up to {sum(probabilities):.6g}, not to 1")
