"""What the verbs share that make many trainings: arguments of ``fit`` behind their own, and how to go on."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from qa_lightning.cli.arguments import VerbParser, at_least
from qa_lightning.cli.overview import PROGRAM
from qa_lightning.cli.resume_command import same_command
from qa_lightning.utils.secrets import hide_in_arguments

EPILOG = "All other flags are those of fit, and are given to each training; they may stand behind `--`."


def experiment_parser(verb: str, description: str) -> VerbParser:
    """A parser with what all of these verbs take.

    Args:
        verb: The verb.
        description: What it does.
    """
    parser = VerbParser(verb, description)
    parser.epilog = EPILOG
    parser.usage = f"{PROGRAM} {verb} --output DIR [options] [--] [flags of fit]"
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        required=True,
        help="the folder of its trainings, table and page; the same command goes on with what is there",
    )
    parser.add_argument(
        "--workers", metavar="N", type=at_least(1), default=1, help="trainings side by side, one GPU for each (1)"
    )
    return parser


def add_seeds(parser: VerbParser) -> None:
    """Adds the flag that says over which seeds an experiment trains."""
    parser.add_argument(
        "--seeds",
        metavar="N",
        type=numbers_from(0, "seeds"),
        default=[0, 1, 2],
        help="how many seeds, from 0 on, or which, such as 3,14,15 (3); more can be added later",
    )


def parse_with_fit(parser: VerbParser, arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parses a verb's own arguments, and returns those of ``fit`` as they are.

    Args:
        parser: The verb's parser.
        arguments: The command line behind the verb. What stands behind ``--`` is for ``fit``, as is every flag before
            it that the verb does not know.
    """
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    options, others = parser.parse_known_args(arguments[:end])
    fit = [*others, *arguments[end + 1 :]]
    if fit[:1] == ["fit"]:
        fit = fit[1:]
    if others and not others[0].startswith("-") and others[0] != "fit":
        parser.error(f"{others[0]!r} is no flag; the flags of fit begin with --")
    return options, fit


@contextmanager
def says_how_to_go_on(verb: str, arguments: Sequence[str]) -> Iterator[None]:
    """Where what is done is interrupted, prints the command that goes on with it.

    Args:
        verb: The verb.
        arguments: What follows it.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        print(f"Go on with the same command:\n  {same_command([verb, *arguments])}", file=sys.stderr, flush=True)
        raise


def command_of(verb: str, arguments: Sequence[str]) -> str:
    """The command as a page shows it: quoted for a shell, without secrets."""
    return shlex.join([*shlex.split(PROGRAM), verb, *hide_in_arguments(list(arguments))])


def numbers_from(least: int, what: str) -> Callable[[str], list[int]]:
    """A type of argparse: whole numbers that are separated by commas, or how many there are to be, from 0 on.

    Args:
        least: The lowest number.
        what: What they are called in messages.
    """

    def parse(text: str) -> list[int]:
        try:
            values = [int(part) for part in text.split(",") if part.strip()]
        except ValueError:
            values = []
        is_count = "," not in text
        if not values or min(values) < (1 if is_count else least) or len(set(values)) < len(values):
            raise argparse.ArgumentTypeError(
                f"{text!r} is neither a number of {what} nor a list of them, such as 0,1,2"
            )
        return list(range(values[0])) if is_count else values

    return parse


def say(line: str) -> None:
    """Prints a line at once."""
    print(line, flush=True)
