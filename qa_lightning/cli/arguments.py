"""The argument parser of the verbs other than Lightning's."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn

from qa_lightning.utils.errors import REFUSED, print_error


class VerbParser(argparse.ArgumentParser):
    """argparse's parser, which takes no half-written flags and ends a user's mistake in one line.

    Args:
        verb: The verb.
        description: What it does, shown above the options.
    """

    def __init__(self, verb: str, description: str) -> None:
        super().__init__(prog=f"python -m qa_lightning {verb}", description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Says what is wrong with the arguments; status 2."""
        print_error(f"{message}; see {self.prog} --help")
        self.exit(REFUSED)
        raise AssertionError("exit returns to nobody")


def at_least(least: int) -> Callable[[str], int]:
    """Makes the type of an argument that is a whole number.

    Args:
        least: The smallest that is taken.
    """

    def whole_number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
        return value

    return whole_number
