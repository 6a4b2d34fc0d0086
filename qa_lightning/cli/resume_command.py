"""The command by which an interrupted training goes on: the user's own, with ``--ckpt_path last``."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence

from qa_lightning.cli.overview import PROGRAM
from qa_lightning.utils.secrets import HIDDEN, hide_in_arguments

_STARTED_BY = {"TORCHELASTIC_RUN_ID": "torchrun", "SLURM_STEP_ID": "srun", "OMPI_COMM_WORLD_RANK": "mpirun"}
"""Environment variables of programs that start the command, and their names: how they were called is not known here."""


def resume_command(arguments: Sequence[str], run_dir: str) -> str:
    """Makes the command line that goes on with a training, quoted for a shell.

    Args:
        arguments: What the training was started with, from ``fit`` on.
        run_dir: Its folder.

    Returns:
        The command; a secret in it is replaced by ``***``.
    """
    kept = list(_without(arguments, "--ckpt_path"))
    if not any(argument == "--run_dir" or argument.startswith("--run_dir=") for argument in kept):
        kept += ["--run_dir", run_dir]
    return shlex.join([*_program(arguments), *hide_in_arguments(kept), "--ckpt_path", "last"])


def same_command(arguments: Sequence[str]) -> str:
    """Makes the command line that was given, quoted for a shell; a secret in it is replaced by ``***``.

    Args:
        arguments: What the program was called with, from the verb on.
    """
    return shlex.join([*_program(arguments), *hide_in_arguments(list(arguments))])


def resume_hint(arguments: Sequence[str], run_dir: str) -> str:
    """Says in a line, and the command below it, how an interrupted training goes on.

    Args:
        arguments: What the training was started with, from ``fit`` on.
        run_dir: Its folder.
    """
    command = resume_command(arguments, run_dir)
    by = next((name for variable, name in _STARTED_BY.items() if variable in os.environ), None)
    hidden = f"; put the secrets in for {HIDDEN}" if HIDDEN in command else ""
    begin = "Unless Slurm requeues the job, go on with" if by == "srun" else "Go on with"
    return f"{begin}{f' (by {by}, as before)' if by else ''}{hidden}:\n  {command}"


def _program(arguments: Sequence[str]) -> list[str]:
    """What stands before the arguments, as the user wrote it; where this is called from Python, the usual."""
    whole = sys.orig_argv
    if list(arguments) != sys.argv[1:] or whole[len(whole) - len(arguments) :] != list(arguments):
        return shlex.split(PROGRAM)
    return whole[: len(whole) - len(arguments)]


def _without(arguments: Iterable[str], flag: str) -> Iterator[str]:
    """Arguments without a flag and its value."""
    rest = iter(arguments)
    for argument in rest:
        if argument == flag:
            next(rest, None)
        elif not argument.startswith(f"{flag}="):
            yield argument
