"""Turns values as Python code has them into plain data, as YAML and checkpoints hold it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any, TypeVar

Section = TypeVar("Section")

_SCALARS = (str, int, float, bool, type(None))


def plain(value: Any) -> Any:
    """Turns a value into plain data: texts, numbers, booleans, None, and lists and dicts of them.

    Paths become texts, numbers of NumPy and torch Python's, tuples lists, and data classes dicts.

    Args:
        value: The value.

    Raises:
        TypeError: Where it, or something in it, has no plain form.
    """
    if type(value) in _SCALARS:
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {_key(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return plain(value.item())
    for scalar in (str, bool, int, float):  # such as the members of an enumeration
        if isinstance(value, scalar):
            return scalar(value)
    raise TypeError(f"{type(value).__name__} has no plain form")


def from_plain(kind: type[Section], value: Section | Mapping[str, Any]) -> Section:
    """Makes an object of a class from its arguments by name, as a checkpoint holds it; one that is made already stays.

    Args:
        kind: The class.
        value: The object, or its arguments.
    """
    return kind(**value) if isinstance(value, Mapping) else value


def as_text(name: Any) -> Any:
    """Turns a path into a text; any other name stays as it is."""
    return os.fspath(name) if isinstance(name, os.PathLike) else name


def plain_items(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turns the values of a mapping into plain data, and leaves out those that have no plain form."""
    kept = {}
    for name, value in values.items():
        try:
            kept[name] = plain(value)
        except TypeError:
            continue
    return kept


def _key(key: Any) -> Any:
    if not isinstance(key, str | int):
        raise TypeError(f"{type(key).__name__} is no plain key")
    return key
