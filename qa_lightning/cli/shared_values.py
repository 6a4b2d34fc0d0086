"""Values that two sections of the settings share: stated in one of them, and refused in the other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from qa_lightning.cli.overview import TRAINER_VERBS
from qa_lightning.pretrained.settings import SHARED_SETTINGS
from qa_lightning.utils.bounded_yaml import check_yaml, read_config
from qa_lightning.utils.errors import UserError

SHARED_VALUES = {
    "model.model_name_or_path": "data.model_name_or_path",
    "model.config_name": "data.config_name",
    "data.tokenizer_name": "model.tokenizer_name",
    **{f"data.{name}": f"model.{name}" for name in SHARED_SETTINGS},
    "checkpoint.monitor": "results.monitor",
    "checkpoint.mode": "results.mode",
}
"""Values that two sections need: stated at the first key, handed to the second."""

_BETWEEN = ("init_args", "dict_kwargs")
"""What may stand between a section and its key."""

_ENVIRONMENT = "PL_"
"""How the environment variables begin that Lightning's parser reads, where it reads any."""


def full_key(key: str) -> str:
    """The key of a value in the parsed settings, of which each section is a class with its arguments."""
    return key.replace(".", ".init_args.", 1)


def check_shared_values(arguments: list[str], environment: Mapping[str, str] | None = None) -> None:
    """Refuses a shared value that is given where the other section's would be taken instead.

    Args:
        arguments: A command line, in which configs and sections may be files or YAML.
        environment: The environment, where the parser takes settings from it.

    Raises:
        UserError: Names the flag, file or variable, the key, and the key to set instead.
    """
    sources = {target: source for source, target in SHARED_VALUES.items()}
    for where, key in _found([*_flags(arguments), *_variables(environment or {})]):
        source = sources[key]
        if where == f"--{key}":
            raise UserError(f"{where}: this is always the value of {source}; set --{source} instead")
        raise UserError(f"{where}: {key} is always the value of {source}; set {source} instead")


def _flags(arguments: list[str]) -> Iterator[tuple[str, str, str]]:
    """The flags of a command line: what messages call each, its key and its value."""
    for place, argument in enumerate(arguments):
        if not argument.startswith("-"):
            continue
        flag, equals, value = argument.partition("=")
        if argument.startswith("-c"):
            flag, value = "--config", argument.removeprefix("-c").removeprefix("=")
        if not equals and not value:
            value = "".join(arguments[place + 1 : place + 2])
        yield flag, flag.lstrip("-"), value


def _variables(environment: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """The environment variables that are settings: name, key and value of each."""
    for name, value in environment.items():
        if name.startswith(_ENVIRONMENT):
            yield name, name.removeprefix(_ENVIRONMENT).lower().replace("__", "."), value


def _found(settings: list[tuple[str, str, Any]]) -> Iterator[tuple[str, str]]:
    """The shared values that are given at the second key: where, and the key.

    Configs, and sections of them, are followed into the files that are named.
    """
    targets = set(SHARED_VALUES.values())
    todo = [(*setting, Path(), 0) for setting in settings]
    while todo:
        where, key, value, folder, files = todo.pop(0)
        key = _short_key(key)
        if key in targets:
            yield where, key
        if key and not any(target.startswith(f"{key}.") for target in targets):
            continue
        if isinstance(value, str):
            path = folder / os.path.expanduser(value)
            if files < 10 and _is_file(path):  # a file may name itself
                value, where, folder, files = read_config(str(path)), str(path), path.parent, files + 1
            value = _load(value, where)
        if isinstance(value, Mapping):
            prefix = f"{key}." if key else ""
            todo += [(where, f"{prefix}{name}", below, folder, files) for name, below in value.items()]


def _short_key(key: str) -> str:
    """A key without its verb and what only the parser needs; empty for a whole config."""
    first, *others = key.split(".")
    if first in TRAINER_VERBS:
        first, *others = others or [""]
    if others and others[0] in _BETWEEN:
        others = others[1:]
    return "" if first == "config" else ".".join([first, *others])


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long for a name, or with a null byte: YAML
        return False


def _load(text: str, source: str) -> Any:
    """Loads YAML; None where it is none, of which the parser says what is wrong."""
    check_yaml(text, source)
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return None
