"""What the program says of itself, without waiting for anything heavy to be imported."""

from __future__ import annotations

import difflib
import sys

from qa_lightning import __version__
from qa_lightning.cli.verbs import TRAINER_VERBS, VERBS

DESCRIPTION = "Trains, evaluates and uses models for extractive question answering."

PROGRAM = "python -m qa_lightning"

_OPTIONS = {"-h, --help": "show this, or after a verb its options", "--version": "show the version"}

_FOR_THE_PARSER = ("-c", "--config", "--print_config")
"""Options that Lightning's parser takes in front of a verb."""


def overview() -> str:
    """The help of the whole program: what it is, and every verb in a line."""
    verbs = {**TRAINER_VERBS, **VERBS}
    width = max(map(len, (*verbs, *_OPTIONS)))
    lines = [f"usage: {PROGRAM} VERB [options]", "", DESCRIPTION]
    for title, rows in (("verbs", verbs), ("options", _OPTIONS)):
        lines += ["", f"{title}:", *(f"  {name:<{width}}  {what}" for name, what in rows.items())]
    return "\n".join(lines)


def answer(arguments: list[str]) -> int | None:
    """Answers a command line that asks for no verb, or for none that there is.

    Args:
        arguments: The whole command line.

    Returns:
        The exit status; None where the command line is a verb's.
    """
    first = arguments[0] if arguments else None
    if first in ("-h", "--help"):
        print(overview())
        return 0
    if first == "--version":
        print(f"qa_lightning {__version__}")
        return 0
    if first is None:
        print(overview(), file=sys.stderr)
        return 2
    if first in TRAINER_VERBS or first in VERBS or first.partition("=")[0] in _FOR_THE_PARSER:
        return None
    print(f"error: {_unknown(first)}", file=sys.stderr)
    return 2


def _unknown(first: str) -> str:
    """What is wrong with a first argument that is no verb. It may be of any length and hold anything."""
    shown = first[:40] if first.isprintable() else ascii(first[:40])[1:-1]
    verbs = [*TRAINER_VERBS, *VERBS]
    if first.startswith("-"):
        return f"{shown!r} stands where a verb should: {PROGRAM} VERB [options]; the verbs are {', '.join(verbs)}"
    near = difflib.get_close_matches(first[:40], verbs, n=1)
    if near:
        return f"unknown verb {shown!r}; did you mean {near[0]!r}?"
    return f"unknown verb {shown!r}; the verbs are {', '.join(verbs)}"
