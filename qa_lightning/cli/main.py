"""The entry point of the command line, which hands over to Lightning or to one of the other verbs."""

from __future__ import annotations

import importlib
import os
import sys

from qa_lightning.cli.overview import SECTION_HELP, TAKES_SETTINGS, VERBS, answer
from qa_lightning.utils.errors import REFUSED, UserError, print_error
from qa_lightning.utils.refusals import Progress, refusal
from qa_lightning.utils.signals import end_at_once, end_by_exception


def main(arguments: list[str] | None = None) -> int:
    """Runs a command line and returns its exit status.

    Args:
        arguments: The arguments; default: those of the process.

    Raises:
        SystemExit: As argument parsers do, for ``--help`` and for arguments that cannot be understood.
    """
    is_own_process = arguments is None
    arguments = sys.argv[1:] if arguments is None else arguments
    status = answer(arguments)
    if status is not None:
        return status
    # A config may stand in front of the verb.
    verb = next(filter(TAKES_SETTINGS.__contains__, arguments), None) if arguments[0].startswith("-") else arguments[0]
    if verb in TAKES_SETTINGS and not {"-h", "--help"}.isdisjoint(arguments):
        from qa_lightning.cli.options import short_help

        print(short_help(verb))
        return 0
    if is_own_process:
        end_at_once()
        _find_modules_here()
    try:
        if verb in TAKES_SETTINGS and arguments[-1] in SECTION_HELP:
            return _run_verb("section_help", verb, arguments[-1])
        if arguments[0] in VERBS:
            return _run_verb(*arguments)
        # Imported here, since Lightning takes seconds that a verb need not wait for.
        from qa_lightning.cli.trainer_verbs import run_lightning

        return run_lightning(arguments)
    except UserError as error:
        print_error(str(error), error)
        return REFUSED
    finally:
        if is_own_process:
            end_at_once()  # what there was to tidy up is tidied up


def _find_modules_here() -> None:
    """Lets a config name classes of the current folder also for the command ``qa_lightning``, as ``python -m`` does."""
    if not sys.flags.safe_path and not {"", os.getcwd()} & {*sys.path}:
        sys.path.append(os.getcwd())  # behind all else: no installed module is hidden by a file here


def _run_verb(verb: str, *arguments: str) -> int:
    try:
        module = importlib.import_module(f"qa_lightning.cli.{verb}")
        end_by_exception()
        module.run(list(arguments))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of the output has gone. What is left to be written would fail again at the end of the process.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        refused = refusal(error, Progress(started=True))
        if refused is None or refused is error:
            raise
        raise refused from error
    return 0
