"""The command line's parser: LightningCLI's, with errors that fit in one line."""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import os
import re
from collections.abc import Iterable
from typing import Any, NoReturn

import yaml
from jsonargparse import get_loader, set_loader
from lightning.pytorch.cli import LightningArgumentParser

from qa_lightning.cli.loggers import FOLDER_OF_THE_RUN, needs_folder
from qa_lightning.utils.bounded_yaml import check_yaml, read_config
from qa_lightning.utils.errors import REFUSED, print_error

_UNKNOWN = re.compile(
    r"Option '(?P<option>[\w.]+)' is not accepted"
    r"|does not accept option '(?P<nested>[\w.]+)'"
    r"|Key '(?P<key>[\w.]+)' is not expected"
    r"|[Uu]nrecognized arguments: --(?P<flag>[\w.]+)"
)
_LEFT_OVER = re.compile(r"[Uu]nrecognized arguments: (?P<value>[^-\s].*)")
_ALIKE = 0.65
"""How alike (0 to 1) an unknown key and the one that is suggested for it must be."""

_TOO_SMALL = re.compile(
    r"(?P<key>[\w.]+): Not of type \w+: (?P<value>\S+ )?does not conform to restriction v>=(?P<least>\d+)"
)
_NO_NUMBER = re.compile(r"Not of type \w*Int: invalid literal for int\(\) with base 10: ")

_NO_CLASS = re.compile(
    r"Problem with given class_path '(?P<path>[\w.]+)':\s+(?:- )?"
    r"(?P<why>No module named '(?P<module>[\w.]+)'|module .*)"
    r"|Expected a dot import path string: (?P<name>\S+)"
)

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

    def add_class_arguments(self, *args: Any, **kwargs: Any) -> list[str]:
        """Adds a class's arguments, those of a logger with the run's folder as the default of a required one."""
        added = super().add_class_arguments(*args, **kwargs)
        if args and needs_folder(args[0]):
            self.set_defaults({key: FOLDER_OF_THE_RUN for key in added if key.rpartition(".")[2] == "save_dir"})
        return added

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Says what is wrong with the arguments, names the nearest known key for an unknown one; status 2."""
        print_error(short_message(message, self._known_keys()), ex)
        self.exit(REFUSED)
        raise AssertionError("exit returns to nobody")

    def _known_keys(self) -> list[str]:
        """The keys of this parser and of its subcommands', as one writes them as flags."""
        below = [action.choices for action in self._actions if isinstance(action.choices, dict)]
        parsers = [parser for choices in below for parser in choices.values()] or [self]
        keys = {key for parser in parsers for key in parser.get_defaults(skip_validation=True).keys()}  # noqa: SIM118
        return sorted(key.replace(".init_args", "") for key in keys)


def short_message(message: str, keys: list[str]) -> str:
    """Shortens one of jsonargparse's messages, which run over many lines, to one.

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
    if left := _LEFT_OVER.search(message):
        return f"{left['value']}: which flag is this of? A flag takes one value; several are a list: '[a.json, b.json]'"
    absent = _NO_CLASS.search(message)
    if absent:
        key = re.search(r'Parser key "([\w.]+)"', message)
        return (f"{key[1]}: " if key else "") + _no_class(**absent.groupdict())
    lines = [line.strip(" -") for line in message.splitlines()]
    text = " ".join(line for line in lines if line and not _NOISE.match(line))
    text = re.sub(r"<class '([\w.]+)'>", r"\1", re.sub(r'Parser key "([\w.]+)":', r"\1:", text))
    if small := _TOO_SMALL.search(text):
        value = f", not {small['value'].strip()}" if small["value"] else ""
        return f"{small['key']} must be at least {small['least']}{value}"
    return _NO_NUMBER.sub("not a whole number: ", text)


def _no_class(path: str | None, why: str | None, module: str | None, name: str | None) -> str:
    """Says why there is no such class, and how to get a package that is not installed."""
    if path is None:
        return (
            f"{str(name)[:80]!r} is no file here and no known class; a class of your own is written my_module.MyClass"
        )
    package = str(module).partition(".")[0]
    if module is None or importlib.util.find_spec(package):
        return f"{path}: {why}"
    return f"{path}: {why}; if a package has it, install that: pip install {package}"


def named_places(arguments: list[str]) -> argparse.Namespace:
    """Reads the flags that say where settings come from, before all others can be parsed.

    Args:
        arguments: A command line, of which other arguments are passed over.

    Returns:
        ``run_dir``, ``ckpt_path``, None where they are not given, and ``config``, a list.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    # A flag without a value is left to the parser of the whole command line, which says what is missing.
    parser.add_argument("--run_dir", nargs="?")
    parser.add_argument("--ckpt_path", nargs="?")
    parser.add_argument("-c", "--config", nargs="?", action="append", default=[])
    found, _ = parser.parse_known_args(arguments)
    found.config = [path for path in found.config if path is not None]
    return found


def check_configs(paths: Iterable[str]) -> None:
    """Refuses config files that settings are not to be read from; what is no file is left to the parser.

    Args:
        paths: The values of ``--config``.

    Raises:
        UserError: One cannot be read, is not text, or its aliases stand for more than settings need.
    """
    for path in paths:
        if os.path.isfile(path):
            read_config(path)
