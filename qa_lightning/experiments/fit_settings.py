"""The settings of an experiment's trainings, as ``fit`` reads them from its arguments."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from qa_lightning.experiments.commands import error_of, run_to_end
from qa_lightning.runs.run_info import flat_settings
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.secrets import hide_secrets

_OURS = {
    "--run_dir": "each training has a folder of its own in --output",
    "--ckpt_path": "trainings go on by themselves where they were interrupted",
    "--print_config": "give it to fit",
}
"""Flags of ``fit`` that an experiment gives itself, and why."""

_FIRST = "# lightning.pytorch=="
"""What Lightning's settings begin with."""


def check_arguments(arguments: Sequence[str], reserved: Mapping[str, str]) -> None:
    """Refuses flags of ``fit`` that are the experiment's own.

    Args:
        arguments: The arguments of ``fit``.
        reserved: More flags that are, and why.

    Raises:
        UserError: For the first of them.
    """
    taken = {**_OURS, **reserved}
    for argument in arguments:
        flag = argument.partition("=")[0]
        if flag in taken:
            raise UserError(f"{flag} cannot be given here: {taken[flag]}")


def read_settings(arguments: Sequence[str]) -> dict[str, Any]:
    """Reads all settings of a training, in the form of ``config.yaml``, by ``fit --print_config``.

    Args:
        arguments: The arguments of ``fit``.

    Raises:
        UserError: Where ``fit`` refuses them, the message being its own, or they are not for many trainings.
    """
    with tempfile.TemporaryDirectory() as folder:
        printed, said = (Path(folder, name) for name in ("printed", "said"))
        with printed.open("wb") as output, said.open("wb") as errors:
            status = run_to_end(["fit", *arguments, "--print_config"], output, errors)
        text, complaints = (path.read_text(encoding="utf-8", errors="replace") for path in (printed, said))
    if status:
        raise UserError(error_of(complaints or text))
    settings = parse_settings(text)
    if settings.get("push_to_hub") is not None:
        raise UserError("push_to_hub: all trainings would upload to the same model; upload one of them afterwards")
    return settings


def parse_settings(printed: str) -> dict[str, Any]:
    """Parses what ``fit --print_config`` prints, behind what a module of the user's may print when it is imported.

    Raises:
        UserError: There are no settings in it.
    """
    try:
        settings = yaml.safe_load(printed[max(printed.find(_FIRST), 0) :])
    except yaml.YAMLError:
        settings = None
    if not isinstance(settings, dict):
        raise UserError(f"fit --print_config printed no settings: {error_of(printed)}")
    return settings


def data_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the data module."""
    return dict(settings["data"].get("init_args") or {})


def require_validation(settings: Mapping[str, Any]) -> None:
    """Refuses a training that is not validated, so that it would have no score.

    Raises:
        UserError: It is one.
    """
    data = data_settings(settings)
    # Data of a class of the user's own come from where that says.
    if "validation_file" in data and all(
        data.get(name) is None for name in ("validation_file", "dataset_name", "synthetic")
    ):
        raise UserError("there is nothing to score: set data.validation_file to a file of questions")


def as_recorded(settings: Mapping[str, Any], leave_out: Sequence[str] = ()) -> dict[str, str]:
    """Settings by the names of their flags, without secrets, for the record of what an experiment is of.

    Args:
        settings: In the form of ``config.yaml``.
        leave_out: Names of settings that vary in the experiment.
    """
    flat = flat_settings(hide_secrets(dict(settings)))
    return {name: value for name, value in flat.items() if name not in leave_out}
