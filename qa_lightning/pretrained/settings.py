"""The settings that a model of ours was trained and scored with, which stand beside its weights."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from qa_lightning.utils.errors import UserError

SETTINGS_FILE = "qa_lightning.json"
"""File in a model folder that holds the settings the model was trained with."""

SHARED_SETTINGS = ("version_2_with_negative", "max_length", "doc_stride", "max_question_length")
"""Settings of the data that the model is saved with: the command line links them, others give both the same."""

_INTEGER_SETTINGS = {
    "max_length": 1,
    "doc_stride": 0,
    "max_question_length": 1,
    "n_best_size": 1,
    "max_answer_length": 1,
}
"""Settings that are whole numbers, and the least value of each."""

_LARGEST = (1 << 31) - 1

NULL_AT_END = "null_at_end"
"""Setting of models whose null is scored at a special token that ends every window; others do not have it."""


CONFIG_OVERRIDES = "config_overrides"
"""Setting of adapters: what differs in the configuration of their base, which stands in no file of theirs."""

CALIBRATION = "calibration"
"""Setting of models that were calibrated: the temperatures, and what they were fitted to."""

_TEMPERATURES = ("temperature", "null_temperature")
_NULL_BIAS = "null_bias"


def saved_temperatures(saved: Mapping[str, Any]) -> dict[str, float]:
    """The temperatures among a model's settings, by their names; empty for a model that was not calibrated.

    Args:
        saved: The model's settings, as `load_settings` returned them.
    """
    found = saved.get(CALIBRATION) or {}
    return {name: float(found[name]) for name in (*_TEMPERATURES, _NULL_BIAS) if name in found}


def null_at_end(tokenizer: Any, saved: Mapping[str, Any], *, training: bool) -> bool:
    """Whether a model scores null at the end of windows.

    Models that were trained so do, and models whose training starts with a tokenizer without a classification token, as
    causal decoders have: at their first token, null has the same score for every question.

    Args:
        tokenizer: The model's tokenizer.
        saved: The model's settings, as `load_settings` returned them.
        training: Whether the model is trained, or was in this process.
    """
    if saved.keys() - {CALIBRATION}:
        return bool(saved.get(NULL_AT_END, False))
    return training and tokenizer is not None and tokenizer.cls_token_id is None


def check_settings(values: Mapping[str, Any], where: str) -> None:
    """Checks the types and ranges of settings; missing and unknown ones are allowed.

    Args:
        values: A model's settings.
        where: The name of the file in messages.

    Raises:
        UserError: With the name of the first invalid one.
    """
    for name, value in values.items():
        good = True
        if name in _INTEGER_SETTINGS:
            good = (
                isinstance(value, int) and not isinstance(value, bool) and _INTEGER_SETTINGS[name] <= value <= _LARGEST
            )
        elif name == "null_score_diff_threshold":
            good = is_number(value)
        elif name in ("version_2_with_negative", NULL_AT_END):
            good = isinstance(value, bool)
        elif name == CONFIG_OVERRIDES:
            good = isinstance(value, Mapping)
        elif name == CALIBRATION:
            good = _is_calibration(value)
        if not good:
            raise UserError(f"{where}: {name} cannot be {shorten(value)}; fix it, or train the model again")


def _is_calibration(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        is_number(value[name]) and (name == _NULL_BIAS or value[name] > 0)
        for name in (*_TEMPERATURES, _NULL_BIAS)
        if name in value
    )


def shorten(value: Any) -> str:
    """Formats a value as Python does, shortened where it is long."""
    try:
        return f"{value!r:.80}"
    except ValueError:  # a whole number of thousands of digits
        return f"a {type(value).__name__} without an end"


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; truth values are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
