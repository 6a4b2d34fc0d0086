"""Checks YAML before it is loaded: a few lines of aliases can stand for more than memory holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qa_lightning.utils.errors import UserError

LONGEST = 4_000_000
"""Characters of a text."""

MOST = 2_000_000
"""Characters and values that a text may stand for, those behind its aliases counted wherever they are used."""

DEEPEST = 100
"""How deep lists and mappings may stand in each other."""

_TOO_SMALL_TO_HARM = DEEPEST


def check_yaml(text: str, source: str) -> None:
    """Refuses a text that stands for far more than settings need; one that is no YAML passes.

    Args:
        text: What is to be loaded.
        source: What messages call it.

    Raises:
        UserError: Where it is too long, too deep, or its aliases stand for too much.
    """
    if len(text) <= _TOO_SMALL_TO_HARM and "*" not in text:
        return
    if len(text) > LONGEST:
        raise UserError(f"{source}: {len(text):,} characters are too many for settings (at most {LONGEST:,})")
    import yaml

    try:
        _check_events(yaml, text, source)
    except yaml.YAMLError:
        return  # what loads it says where it is wrong


def read_config(path: str) -> str:
    """Reads the text of a config file, and checks it.

    Raises:
        UserError: Where it cannot be read, is not text, or stands for too much.
    """
    try:
        with Path(path).open("rb") as stream:
            content = stream.read(4 * LONGEST + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise UserError(f"{path}: the config cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a config, which is text in UTF-8 (byte {error.start:,} is not)") from error
    check_yaml(text, path)
    return text


def _check_events(yaml: Any, text: str, source: str) -> None:
    """Adds up sizes while the parser reads, which takes no memory for what aliases stand for."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = [(None, 0)]
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, 1))
            if len(open_nodes) > DEEPEST:
                raise UserError(f"{source}: lists and mappings stand more than {DEEPEST} deep in each other")
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_nodes.pop()
        elif isinstance(event, yaml.ScalarEvent):
            anchor, size = event.anchor, 1 + len(event.value)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise UserError(f"{source}: the alias *{event.anchor} stands within itself, or for nothing")
            anchor, size = None, sizes[event.anchor]
        else:
            continue
        if anchor is not None:
            sizes[anchor] = size
        around, total = open_nodes[-1]
        if total + size > MOST:
            raise UserError(f"{source}: its aliases stand for more than {MOST:,} characters; write out what is needed")
        open_nodes[-1] = (around, total + size)
