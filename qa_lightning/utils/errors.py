"""The exception that a user's mistake raises, and how the command line prints it."""

from __future__ import annotations

import os
import pickle
import sys
import traceback

from qa_lightning.utils.terminal import one_line

DEBUG = "QA_LIGHTNING_DEBUG"
"""Environment variable that has the traceback of a mistake printed, too."""

REFUSED = 2
"""Exit status of the command line where it is asked for what it cannot do."""


class UserError(Exception):
    """Bad input, described in one clear line: the file, the row or id, and what to do.

    The command line prints the message without a traceback and exits with status 2; so does a notebook, which goes on.
    """

    def _render_traceback_(self) -> list[str]:
        """What IPython prints in the place of a traceback: the message alone, unless `DEBUG` asks for more."""
        if os.environ.get(DEBUG):
            return traceback.format_exception(self)
        return [f"{type(self).__name__}: {one_line(str(self))}"]


def print_error(message: str, error: BaseException | None = None) -> None:
    """Prints a message as the one line that a command ends in, behind the traceback where `DEBUG` asks for it."""
    if os.environ.get(DEBUG) and error is not None:
        traceback.print_exception(error)
    print(f"error: {one_line(message)}", file=sys.stderr)


def in_one_line(error: Exception) -> str:
    """The first line of what an exception says, with the next where it only announces that."""
    if isinstance(error, pickle.UnpicklingError):
        return "its file holds more than plain data, which is not loaded"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1])
