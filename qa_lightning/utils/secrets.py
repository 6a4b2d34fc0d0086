"""Takes secrets out of what is written for others to read."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "***"
"""What stands in the place of a secret."""

_NAME = (
    r"(?!(?:pad|bos|eos|sep|cls|mask|unk)_token)"  # which are a tokenizer's
    r"(?:[\w-]*[_-])?(?:api[_-]?key|access[_-]?key|password|passwd|secret|token|credentials)"
)
_IS_SECRET = re.compile(_NAME, re.IGNORECASE)
_ASSIGNED = re.compile(
    rf"((?<![\w-])(?:--)?(?:[\w-]+\.)*{_NAME}[\"']?\s*[:=]\s*)(\"[^\"]*\"|'[^']*'|[^\s,\"'}}&]+)", re.IGNORECASE
)
_IN_URL = re.compile(r"(\w://)[^\s/@]+@")


def hide_secrets(value: Any, name: str = "") -> Any:
    """Copies plain data with every secret in it replaced by `HIDDEN`.

    A secret is what has a name such as ``api_key``, ``password`` or ``hub_token``, and the user of a URL.

    Args:
        value: Dictionaries, lists, texts and numbers.
        name: The name that the value has, where it has one.
    """
    if value is not None and _IS_SECRET.fullmatch(name.rpartition(".")[2]):
        return HIDDEN
    if isinstance(value, dict):
        return {key: hide_secrets(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [hide_secrets(inner) for inner in value]
    if isinstance(value, str):
        return _ASSIGNED.sub(rf"\g<1>{HIDDEN}", _IN_URL.sub(rf"\g<1>{HIDDEN}@", value))
    return value


def hide_in_arguments(arguments: list[str]) -> list[str]:
    """Copies the arguments of a command with every secret in them replaced by `HIDDEN`."""
    shown = []
    flag = ""
    for argument in arguments:
        shown.append(hide_secrets(argument, flag))
        flag = argument.lstrip("-") if argument.startswith("--") and "=" not in argument else ""
    return shown
