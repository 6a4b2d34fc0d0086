"""The command of a trial, with the macros of Weights & Biases filled in."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qa_lightning.experiments.parameters import Parameter
from qa_lightning.utils.errors import UserError

DEFAULT_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")
"""What W&B runs where a file has no ``command``."""

JSON_FILE = "${args_json_file}"
"""What stands for a file with the parameters."""

_ENV = "/usr/bin/env"
_VARIABLE = re.compile(r"\$\{envvar:([A-Z0-9_]*)\}")
_MACRO = re.compile(r"\$\{(\w+)\}")
_AS_TEXT = (
    "args",
    "args_no_equals",
    "args_no_hyphens",
    "args_no_boolean_flags",
    "args_append_hydra",
    "args_override_hydra",
)
"""The macros that write each parameter as a text."""

_KNOWN = ("env", "interpreter", "program", *_AS_TEXT, "args_json", "args_json_file")


def check_command(command: Any, program: Any, parameters: Iterable[Parameter]) -> None:
    """Refuses a command that could not be run, or that would not give trials their parameters.

    Args:
        command: The value of ``command``.
        program: The value of ``program``.
        parameters: The sweep's parameters.

    Raises:
        UserError: Where it cannot be run so.
    """
    if not isinstance(command, list) or not all(isinstance(word, str | int | float) for word in command):
        raise UserError("command: give a list of words, each flag and each value a word of its own")
    macros = [match[1] for word in command if (match := _MACRO.fullmatch(str(word)))]
    for name in macros:
        if name not in _KNOWN:
            raise UserError(f"command: ${{{name}}} is not known; W&B's macros are {', '.join(_KNOWN)}, envvar:NAME")
    if "program" in macros and not program:
        raise UserError("program is not given, and the command needs it: program: qa_lightning")
    if not any(name.startswith("args") for name in macros):
        raise UserError("command: no ${args} in it, so trials would not get their parameters")
    if {*macros} & {*_AS_TEXT}:
        for parameter in parameters:
            if None in (parameter.settings.get("value", 0), *(parameter.settings.get("values") or ())):
                raise UserError(
                    f"parameters.{parameter.name}: W&B writes null as the text None, which fit does not take for it; "
                    'put `--FLAG, "null"` into the command instead'
                )


def check_flags(flags: Sequence[str], parameters: Iterable[Parameter]) -> None:
    """Refuses flags for every trial that the trials have of their own.

    Raises:
        UserError: Where one is a parameter of the sweep, or names a folder or a checkpoint.
    """
    given = {flag.removeprefix("--").partition("=")[0] for flag in flags if flag.startswith("--")}
    for name in [*(parameter.name for parameter in parameters), "run_dir", "ckpt_path"]:
        if name in given:
            raise UserError(f"--{name} is given for all trials, but each has its own")


def render(
    command: Sequence[str], program: str, values: Mapping[str, Any], *, interpreter: str, json_file: Path
) -> list[str]:
    """Writes the command of a trial, as W&B's agent does.

    Args:
        command: The words of the command.
        program: What ``${program}`` stands for.
        values: The parameters by name; nested ones are dictionaries.
        interpreter: What ``${interpreter}`` stands for: W&B writes ``python``.
        json_file: What ``${args_json_file}`` stands for, see `write_json_file`.
    """
    flags = [f"{name}={value}" for name, value in values.items()]
    filled: dict[str, list[str]] = {
        "env": [_ENV] if os.name != "nt" else [],
        "interpreter": [interpreter],
        "program": [program],
        "args": [f"--{flag}" for flag in flags],
        "args_no_equals": [word for name, value in values.items() for word in (f"--{name}", str(value))],
        "args_no_hyphens": flags,
        "args_no_boolean_flags": [
            f"--{name}" if value is True else f"--{name}={value}"
            for name, value in values.items()
            if value is not False
        ],
        "args_append_hydra": [f"+{flag}" for flag in flags],
        "args_override_hydra": [f"++{flag}" for flag in flags],
        "args_json": [json.dumps(values)],
        "args_json_file": [str(json_file)],
    }
    words: list[str] = []
    for word in command:
        macro = _MACRO.fullmatch(word)
        words += filled[macro[1]] if macro else [_VARIABLE.sub(lambda name: os.environ.get(name[1], name[1]), word)]
    return words


def write_json_file(command: Sequence[str], values: Mapping[str, Any], path: Path) -> None:
    """Writes the parameters as JSON, where the command takes a file of them."""
    if JSON_FILE in command:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values), encoding="utf-8")
