"""Runs ``fit``, ``validate``, ``test`` and ``predict``, and turns what ends them into an exit status or one line."""

from __future__ import annotations

import signal
import sys
import warnings
from contextlib import ExitStack
from pathlib import Path

from lightning.pytorch.utilities.exceptions import SIGTERMException

from qa_lightning.cli.lightning import QACLI
from qa_lightning.cli.lightning_messages import leave_out_no_news
from qa_lightning.cli.resume_command import resume_hint
from qa_lightning.runs.folder import RunFolder
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.files import full_disk
from qa_lightning.utils.processes import is_first, main_process
from qa_lightning.utils.refusals import Progress, refusal
from qa_lightning.utils.signals import BASE

_NOT_FOR_USERS = (
    # Batches are built whole from memory-mapped columns: handing them over from another process costs more.
    ".*does not have many workers.*",
    # Training goes on in its folder, and need not validate.
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*Total length of `list` across ranks is zero.*",
    # It counts the sizes of float32 weights, which these are.
    ".*Precision .* is not supported by the model summary.*",
    # Our schedules are by the step; that of the average takes their place.
    "SWA is currently only supported every epoch.*",
    # An evaluation needs nothing of what averages the weights of a training.
    ".*but loading a checkpoint outside the 'fit' stage.*",
    # Lightning 2.6 asks torch 2.13 in a way that the latter deprecates.
    ".*LeafSpec.*",
    # Lightning 2.6 calls what jsonargparse 5 will drop.
    r"(?s).*(removed in v5\.0\.0|one JsonargparseDeprecationWarning)",
)
"""Warnings of libraries about what is meant here; regular expressions."""


def run_lightning(arguments: list[str]) -> int:
    """Runs ``fit``, ``validate``, ``test`` or ``predict`` and returns the exit status.

    Args:
        arguments: The subcommand and its arguments.

    Raises:
        UserError: Where something is wrong with what the user gave.
        SystemExit: As argument parsers do, for ``--help`` and for arguments that cannot be understood.
    """
    leave_out_no_news()
    for message in _NOT_FOR_USERS:
        warnings.filterwarnings("ignore", message)
    progress = Progress()
    try:
        with ExitStack() as stack:
            QACLI(arguments, stack, progress)
    except (SystemExit, KeyboardInterrupt) as error:
        number = _ending_signal(error)
        if number is None:
            raise
        # Where a process that it started ends with another status than 0, Lightning kills the first one.
        if main_process() is not None:
            return 0
        _say_how_to_go_on(arguments, progress)
        return BASE + number
    except Exception as error:
        line = None if isinstance(error, UserError) else full_disk(error)
        refused = refusal(error, progress) if line is None else UserError(line)
        if refused is None or refused is error:
            raise
        raise refused from error
    return 0


def _say_how_to_go_on(arguments: list[str], progress: Progress) -> None:
    """Prints the command that goes on with a training, if there is something to go on with."""
    folder = progress.trained_in
    if folder is not None and is_first() and RunFolder(Path(folder)).config.is_file():
        print(resume_hint(arguments, folder), file=sys.stderr, flush=True)


def _ending_signal(error: BaseException) -> int | None:
    """The signal that ended a run; None where something else did. Of Ctrl-C, Lightning makes a `SystemExit`."""
    if isinstance(error, SIGTERMException) or getattr(error, "code", None) == BASE + signal.SIGTERM:
        return signal.SIGTERM
    interrupted = isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt)
    return signal.SIGINT if interrupted else None
