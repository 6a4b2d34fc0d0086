"""The verbs, ``--help`` and ``--version``, answered without importing anything heavy."""

from __future__ import annotations

import difflib
import sys

from qa_lightning import __version__

TRAINER_VERBS = {
    "fit": "train a model, and keep the best",
    "validate": "score a model on the validation data",
    "test": "score a model on the test data",
    "predict": "answer the questions of a file",
}
"""The verbs of Lightning's trainer, and what each does."""

VERBS = {
    "inspect": "look at data before training",
    "score": "score predictions in a file, or what a model answers",
    "evaluate": "score models on many sets, such as XQuAD's languages",
    "seeds": "train the same over several seeds",
    "crossval": "train on all folds but one, and score all of them",
    "curve": "train on shares of the data, and say what more would bring",
    "compare": "say whether runs differ, question by question",
    "report": "write a page that shows a run's scores and answers",
    "ask": "ask a model about a text",
    "demo": "open a page on which to ask a model",
    "serve": "answer questions over HTTP",
    "export": "write a model as a folder that other programs can use",
    "calibrate": "fit a model's scores to how often it is right",
    "ensemble": "write a folder that answers as several models together",
    "sweep": "try many settings, by the file of a sweep of Weights & Biases",
    "soup": "average the weights of runs, as one model",
}
"""The other verbs, each a module of this name here with ``run(arguments)``, and what each does."""

TAKES_SETTINGS = (*TRAINER_VERBS, "inspect")
"""The verbs that take configs and the settings of a training."""

SECTION_HELP = tuple(f"--{section}.help" for section in ("model", "data", "checkpoint", "results", "trainer"))
"""What asks for all that there is to say of a section of the settings, at the end of a command line."""

DESCRIPTION = "Trains, evaluates and uses models for extractive question answering."

PROGRAM = "python -m qa_lightning"

_OPTIONS = {"-h, --help": "show this, or after a verb its options", "--version": "show the version"}

_FOR_THE_PARSER = ("-c", "--config", "--print_config")
"""Options that Lightning's parser takes in front of a verb."""


def overview() -> str:
    """Writes the help of the whole program: what it is, and every verb in a line."""
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
    """Says what is wrong with a first argument that is no verb. It may be of any length and hold anything."""
    shown = first[:40] if first.isprintable() else ascii(first[:40])[1:-1]
    verbs = [*TRAINER_VERBS, *VERBS]
    if first.startswith("-"):
        return f"{shown!r} stands where a verb should: {PROGRAM} VERB [options]; the verbs are {', '.join(verbs)}"
    near = difflib.get_close_matches(first[:40], verbs, n=1)
    question = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown verb {shown!r}; {question}the verbs are {', '.join(verbs)}"
