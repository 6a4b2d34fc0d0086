"""The command line's parser: LightningCLI's, with errors that fit in one line."""

from __future__ import annotations

import difflib
import os
import re
from typing import Any, NoReturn

import yaml
from jsonargparse import get_loader, set_loader
from lightning.pytorch.cli import LightningArgumentParser

from qa_lightning.utils.bounded_yaml import check_yaml, read_config
from qa_lightning.utils.errors import REFUSED, print_error

_UNKNOWN = re.compile(
    r"Option '(?P<option>[\w.]+)' is not accepted"
    r"|does not accept option '(?P<nested>[\w.]+)'"
    r"|Key '(?P<key>[\w.]+)' is not expected"
    r"|[Uu]nrecognized arguments: --(?P<flag>[\w.]+)"
)
_ALIKE = 0.65
"""How alike (0 to 1) an unknown key and the one that is suggested for it must be."""

_NOISE = re.compile(r"Does not validate against any|Subtypes: |Errors:$|Expected a <class 'NoneType'>$|Given value")

_load_yaml = get_loader("yaml")


def _load(text: str) -> Any:
    check_yaml(text, "a YAML text")
    try:
        return _load_yaml(text)
    except ValueError as error:  # a number of thousands of digits
        raise yaml.YAMLError(str(error)) from error


set_loader("yaml", _load, (yaml.YAMLError,))


class Parser(LightningArgumentParser):
    """LightningCLI's parser, which takes no half-written flags and ends a user's mistake in one line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Says what is wrong with the arguments, names the nearest known key for an unknown one; status 2."""
        print_error(heart_of(message, self._known_keys()), ex)
        self.exit(REFUSED)
        raise AssertionError("exit returns to nobody")

    def _known_keys(self) -> list[str]:
        """The keys of this parser and of its subcommands', as one writes them as flags."""
        below = [action.choices for action in self._actions if isinstance(action.choices, dict)]
        parsers = [parser for choices in below for parser in choices.values()] or [self]
        keys = {key for parser in parsers for key in parser.get_defaults(skip_validation=True).keys()}  # noqa: SIM118
        return sorted(key.replace(".init_args", "") for key in keys)


def heart_of(message: str, keys: list[str]) -> str:
    """The heart of one of jsonargparse's messages, which run over many lines.

    Args:
        message: What it said.
        keys: The keys that are known, to suggest one for an unknown one.
    """
    unknown = _UNKNOWN.search(message)
    if unknown:
        name = next(filter(None, unknown.groups()))
        section = re.search(r'Parser key "([\w.]+)"', message)
        if unknown["flag"] is None and section and not name.startswith(section[1]):
            name = f"{section[1]}.{name}"
        sections = {key.split(".")[0] for key in keys}
        near = difflib.get_close_matches(name, [*keys, *sections], n=1, cutoff=_ALIKE)
        return f"unknown key {name!r}; did you mean {near[0]!r}?" if near else f"unknown key {name!r}; see --help"
    lines = [line.strip(" -") for line in message.splitlines()]
    text = " ".join(line for line in lines if line and not _NOISE.match(line))
    return re.sub(r"<class '([\w.]+)'>", r"\1", re.sub(r'Parser key "([\w.]+)":', r"\1:", text))


def check_configs(arguments: list[str]) -> None:
    """Looks through the files that ``--config`` names.

    Raises:
        UserError: Where one cannot be read, is not text, or stands for more than settings need.
    """
    for path in flag_values(arguments, "config", "-c"):
        if os.path.isfile(path):
            read_config(path)


def flag_values(arguments: list[str], name: str, short: str | None = None) -> list[str]:
    """The values that a command line gives to ``--name``, before it is parsed."""
    values = []
    for i, argument in enumerate(arguments):
        if argument in (f"--{name}", short) and i + 1 < len(arguments):
            values.append(arguments[i + 1])
        elif argument.startswith(f"--{name}="):
            values.append(argument.split("=", 1)[1])
    return values


def flag_value(arguments: list[str], name: str, short: str | None = None) -> str | None:
    """The last value that a command line gives to ``--name``, before it is parsed; None where it gives none."""
    values = flag_values(arguments, name, short)
    return values[-1] if values else None
