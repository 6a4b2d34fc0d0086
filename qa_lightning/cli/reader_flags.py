"""The flags of the verbs that ask a model: which model, and how to answer."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from qa_lightning.reader.settings import Settings
from qa_lightning.utils.terminal import printable

if TYPE_CHECKING:
    from qa_lightning.reader.reader import Reader


def add_reader_flags(parser: argparse.ArgumentParser, leave_out: tuple[str, ...] = ()) -> None:
    """Adds ``--model``, ``--device``, ``--dtype``, and a flag for each of `Settings`, whose docstring is their help.

    A setting that no flag is given for stays as the model was trained, or as `Settings` has it.

    Args:
        parser: What to add them to.
        leave_out: Settings that the verb has no use for.
    """
    from docstring_parser import parse

    parser.add_argument(
        "--model", required=True, help="folder of a model or a run, checkpoint that fit wrote, or name on the Hub"
    )
    parser.add_argument("--device", help="where to run; default: a GPU where there is one")
    parser.add_argument("--dtype", default="float32", help="of the weights; default: float32")
    helps = {param.arg_name: str(param.description) for param in parse(str(Settings.__doc__)).params}
    group = parser.add_argument_group(
        "how to answer", "Defaults: what a model of ours was trained with, or else these."
    )
    for field in fields(Settings):
        if field.name not in leave_out:
            _add_setting(
                group,
                field.name,
                field.default,
                helps[field.name].removesuffix(".").replace("%", "%%").replace("``", ""),
            )


def _add_setting(group: Any, name: str, default: Any, description: str) -> None:
    """Adds the flag of a setting; two for a truth value."""
    if isinstance(default, bool):
        either = group.add_mutually_exclusive_group()
        for flag, value, text in ((f"--{name}", True, description), (f"--no_{name}", False, "the opposite")):
            text += "; the default" if value == default else ""
            either.add_argument(
                flag, dest=name, action="store_const", const=value, default=argparse.SUPPRESS, help=text
            )
    else:
        description += "" if default is None else f"; default: {default}"
        kind = float if isinstance(default, float) else int
        group.add_argument(f"--{name}", type=kind, metavar="N", default=argparse.SUPPRESS, help=description)


def load_reader(options: argparse.Namespace, **settings: Any) -> Reader:
    """Loads the Reader that the flags ask for.

    Args:
        options: What a parser with `add_reader_flags` returned.
        **settings: Settings for which the verb has another default, used where no flag is given.

    Raises:
        UserError: Where the model cannot be loaded, there is no such device, or a setting cannot be.
    """
    settings |= {field.name: vars(options)[field.name] for field in fields(Settings) if field.name in vars(options)}
    Settings().updated(settings)
    # Imported here, since it takes seconds that a mistake above need not wait for.
    from qa_lightning.reader.reader import Reader

    return Reader.from_pretrained(options.model, device=options.device, dtype=options.dtype, **settings)


@contextmanager
def warnings_in_lines() -> Iterator[None]:
    """Shows each warning as one line on standard error, without the place in the code that gave it."""

    def show(message: Any, *_: Any, **__: Any) -> None:
        print(f"warning: {printable(str(message))}", file=sys.stderr, flush=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
